#include "lib/sandbox/work_dir.h"

#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>
#include <system_error>

namespace attest::sandbox {
namespace {

using base::Fd;
namespace fs = std::filesystem;

constexpr std::string_view prefix = "attest-";
// A directory has this name until it is locked, so that a sweep never finds an unlocked new one.
constexpr std::string_view new_prefix = "attest-new-";
constexpr const char* lock_name = "/lock";
constexpr std::size_t longest_tmpdir = 40;
constexpr int young = 60;  // seconds in which a directory may still be in the making

bool lock_now(const Fd& file) { return file && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0; }

// True for a directory of ours whose lock is free; "" has no lock file.
bool is_stale(const fs::path& dir) {
  struct stat info{};
  if (::lstat(dir.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != ::geteuid())
    return false;
  bool unfinished = dir.filename().string().starts_with(new_prefix);
  if (unfinished && info.st_mtime + young > ::time(nullptr)) return false;
  Fd lock(::open((dir.string() + lock_name).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!lock) return unfinished && errno == ENOENT;
  return lock_now(lock);
}

void sweep(const std::string& parent) {
  DIR* listing = ::opendir(parent.c_str());
  if (!listing) return;
  while (const dirent* entry = ::readdir(listing)) {
    if (!std::string_view(entry->d_name).starts_with(prefix)) continue;
    fs::path dir = fs::path(parent) / entry->d_name;
    std::error_code ignored;
    if (is_stale(dir)) fs::remove_all(dir, ignored);
  }
  ::closedir(listing);
}

// "" if `parent` does not take it.
fs::path make_locked(const std::string& parent, Fd& lock) {
  std::string fresh = parent + "/" + std::string(new_prefix) + "XXXXXX";
  if (!::mkdtemp(fresh.data())) return {};
  lock.reset(::open((fresh + lock_name).c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  std::string path = parent + "/" + std::string(prefix) + fresh.substr(fresh.size() - 6);
  // rename() onto an existing directory fails unless that is empty, and then takes its place.
  if (lock_now(lock) && ::rename(fresh.c_str(), path.c_str()) == 0) return path;
  std::error_code ignored;
  fs::remove_all(fresh, ignored);
  return {};
}

}  // namespace

std::vector<std::string> tmpfs_places() {
  // /proc/driver is made by every kernel's procfs, and holds at most facts about the host's
  // hardware clock and graphics card. Container runtimes cover /proc/scsi in the same way.
  return {"/proc/driver"};
}

std::string mount_tmpfs(const std::vector<std::string>& places) {
  for (const auto& place : places)
    if (::mount("attest", place.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700") == 0)
      return place;
  return {};
}

std::vector<std::string> locked_dir_parents(const std::string& tmpdir) {
  std::vector<std::string> parents{"/tmp", "/var/tmp"};
  if (!tmpdir.starts_with('/') || tmpdir == "/tmp") return parents;
  parents.insert(tmpdir.size() <= longest_tmpdir ? parents.begin() : parents.end(), tmpdir);
  return parents;
}

LockedDir::LockedDir(const std::vector<std::string>& parents) : owner_(::getpid()) {
  for (const auto& parent : parents)
    if (path_ = make_locked(parent, lock_); !path_.empty()) return;
  throw base::sys_error("making a work directory in '" + base::join(parents, "', '") + "'")
      .hint("set TMPDIR to a short path that you can write to");
}

LockedDir::~LockedDir() {
  std::error_code ignored;
  if (owner_ == ::getpid()) fs::remove_all(path_, ignored);
}

void sweep_locked_dirs(const std::vector<std::string>& parents) noexcept {
  try {
    for (const auto& parent : parents) sweep(parent);
  } catch (...) {
    // Out of memory: the next start sweeps.
  }
}

}  // namespace attest::sandbox
