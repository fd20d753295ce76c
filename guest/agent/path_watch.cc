#include "guest/agent/path_watch.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <utility>

namespace attest::agent {
namespace {

constexpr std::uint32_t entry_events = IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM;
constexpr std::uint32_t self_events = IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr auto patience = std::chrono::milliseconds(20);
constexpr int most_symlinks = 40;

// File systems that change without a word to inotify: on another machine, or in the kernel.
bool tells_nothing(const std::string& directory) {
  struct statfs facts;
  if (statfs(directory.c_str(), &facts) != 0) return false;
  switch (static_cast<std::uint32_t>(facts.f_type)) {
    case 0x01021997:  // 9p
    case 0x65735546:  // fuse, virtiofs
    case 0x6969:      // nfs
    case 0xff534d42:  // cifs
    case 0xfe534d42:  // smb2
    case 0x9fa0:      // proc
    case 0x62656572:  // sysfs
    case 0x63677270:  // cgroup2
    case 0x0027e0eb:  // cgroup
    case 0x64626720:  // debugfs
    case 0x74726163:  // tracefs
      return true;
    default:
      return false;
  }
}

void prepend(std::deque<std::string>& parts, std::string_view path) {
  std::deque<std::string> found;
  while (!path.empty()) {
    auto slash = path.find('/');
    if (slash != 0) found.emplace_back(path.substr(0, slash));
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
  }
  parts.insert(parts.begin(), found.begin(), found.end());
}

std::string parent(const std::string& directory) {
  auto slash = directory.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : directory.substr(0, slash);
}

}  // namespace

PathWatch::PathWatch(Loop& loop, std::string path, Changed changed)
    : loop_(loop), path_(std::move(path)), changed_(std::move(changed)) {
  // The variable is for tests of what happens when the limit on inotify is reached.
  if (!getenv("ATTEST_AGENT_NO_INOTIFY")) inotify_.reset(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify_) return;
  loop_.watch(inotify_.get(), EPOLLIN, [this](std::uint32_t) { on_event(); });
  // inotify says nothing when something is mounted over a directory.
  mounts_.reset(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
  if (mounts_) loop_.watch(mounts_.get(), EPOLLPRI, [this](std::uint32_t) { on_mount(); });
}

PathWatch::~PathWatch() {
  loop_.cancel(timer_);
  if (inotify_) loop_.forget(inotify_.get());
  if (mounts_) loop_.forget(mounts_.get());
}

void PathWatch::arm() {
  auto before = std::exchange(watched_, {});
  polls_ = !inotify_;
  std::deque<std::string> parts;
  prepend(parts, path_);
  std::string directory = "/";
  std::size_t own_left = parts.size();  // parts of the path itself that are still to come
  int symlinks = 0;
  while (!parts.empty() && inotify_) {
    auto name = parts.front();
    parts.pop_front();
    // What a symlink brought comes first; the path's own parts are always the last ones.
    bool of_path = parts.size() < own_left;
    if (of_path) own_left = parts.size();
    bool own = of_path && parts.empty();
    if (name == ".") continue;
    if (name == "..") {
      directory = parent(directory);
      continue;
    }
    if (!add(directory, name, own)) break;
    auto whole = (directory == "/" ? "" : directory) + "/" + name;
    struct stat status;
    if (lstat(whole.c_str(), &status) != 0) break;
    if (S_ISDIR(status.st_mode)) {
      directory = whole;
    } else if (S_ISLNK(status.st_mode) && ++symlinks <= most_symlinks) {
      char target[4096];
      auto size = readlink(whole.c_str(), target, sizeof target);
      if (size <= 0) break;
      if (target[0] == '/') directory = "/";
      prepend(parts, std::string_view(target, static_cast<std::size_t>(size)));
    } else {
      break;
    }
  }
  for (auto& old : before) {
    bool kept = std::any_of(watched_.begin(), watched_.end(),
                            [&](const Watched& now) { return now.id == old.id; });
    if (!kept) inotify_rm_watch(inotify_.get(), old.id);
  }
  loop_.cancel(timer_);
  timer_ = 0;
  if (polls_) timer_ = loop_.at(Clock::now() + patience, [this] { report({}); });
}

bool PathWatch::add(const std::string& directory, const std::string& name, bool own) {
  if (tells_nothing(directory)) polls_ = true;
  int id = inotify_add_watch(inotify_.get(), directory.c_str(), entry_events | self_events);
  if (id >= 0) {
    watched_.push_back({id, name, own});
  } else {
    polls_ = true;  // no more watches, or the directory went this moment
  }
  return id >= 0;
}

void PathWatch::on_event() {
  alignas(inotify_event) char buffer[8 << 10];
  std::vector<Entry> entries;
  bool any = false;
  for (ssize_t size; (size = read(inotify_.get(), buffer, sizeof buffer)) > 0;) {
    for (char* at = buffer; at < buffer + size;) {
      auto& event = *reinterpret_cast<inotify_event*>(at);
      at += sizeof event + event.len;
      if (event.mask & (IN_Q_OVERFLOW | IN_UNMOUNT | IN_DELETE_SELF | IN_MOVE_SELF)) any = true;
      if (event.len == 0) continue;
      for (auto& watched : watched_) {
        bool named =
            watched.name == event.name || (watched.own && glob_matches(watched.name, event.name));
        if (watched.id != event.wd || !named) continue;
        any = true;
        bool came = (event.mask & (IN_CREATE | IN_MOVED_TO)) != 0;
        bool went = (event.mask & (IN_DELETE | IN_MOVED_FROM)) != 0;
        if (watched.own && (came || went)) entries.push_back({event.name, came});
      }
    }
  }
  if (any) report(entries);
}

void PathWatch::on_mount() {
  // The file tells each change once to whoever has read it since.
  char buffer[4096];
  lseek(mounts_.get(), 0, SEEK_SET);
  while (read(mounts_.get(), buffer, sizeof buffer) > 0) continue;
  report({});
}

void PathWatch::report(const std::vector<Entry>& entries) {
  auto changed = changed_;  // outlives the watch if that is destroyed by it
  changed(entries);
}

bool glob_matches(std::string_view pattern, std::string_view name) {
  if (name.starts_with('.') && !pattern.starts_with('.')) return false;
  std::size_t p = 0, n = 0, star = std::string_view::npos, tried = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      tried = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;  // let the last star take one more
      n = ++tried;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace attest::agent
