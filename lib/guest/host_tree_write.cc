#include "attest/error.h"
#include "lib/base/fd.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"
#include "lib/guest/host_tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace attest::guest {
namespace {

using proto::TreeData;
using proto::TreeEntry;

std::pair<timespec, timespec> times(std::int64_t mtime_ns) {
  timespec time{.tv_sec = mtime_ns / 1'000'000'000, .tv_nsec = mtime_ns % 1'000'000'000};
  if (time.tv_nsec < 0) {
    time.tv_nsec += 1'000'000'000;
    --time.tv_sec;
  }
  return {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, time};
}

// One directory on the way to the entry that came last. It gets its mode and time when it is left,
// since both would be in the way of what is written into it.
struct Level {
  std::string name;
  base::Fd fd;
  std::uint32_t mode = 0;
  std::int64_t mtime_ns = 0;

  Level(std::string called, base::Fd opened, const TreeEntry& entry, std::uint32_t allowed)
      : name(std::move(called)),
        fd(std::move(opened)),
        mode(entry.mode & allowed),
        mtime_ns(entry.mtime_ns) {}
  Level(Level&&) = default;
  Level& operator=(Level&&) = default;
  ~Level() {
    if (!fd) return;
    auto [access, change] = times(mtime_ns);
    const timespec both[2] = {access, change};
    // Not worth a failed copy: the content is there.
    if (::fchmod(fd.get(), mode) < 0 || ::futimens(fd.get(), both) < 0) return;
  }
};

class HostSink final : public TreeSink {
 public:
  explicit HostSink(std::filesystem::path to) : to_(std::move(to)) {
    if (!to_.has_filename()) to_ = to_.parent_path();  // "dir/" means "dir"
    std::error_code failure;
    auto parent = std::filesystem::absolute(to_).parent_path();
    std::filesystem::create_directories(parent, failure);
    if (failure)
      throw base::sys_error("making directory '" + parent.string() + "'", failure.value());
    parent_.reset(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!parent_) throw base::sys_error("opening directory '" + parent.string() + "'");
  }
  HostSink(const HostSink&) = delete;
  HostSink& operator=(const HostSink&) = delete;
  ~HostSink() override {
    drop_file();
    leave(0);  // innermost first
  }

  void entry(const TreeEntry& entry) override {
    if (file_) throw Error(Error::Kind::protocol, "a tree's file did not end");
    if (!entry.path.empty() && !proto::tree_path_ok(entry.path))
      throw Error(Error::Kind::protocol,
                  "the tree holds the unsafe path '" + base::printable(entry.path) + "'");
    shown_ = entry.path.empty() ? to_.string() : to_.string() + "/" + base::printable(entry.path);
    name_ = entry.path.empty() ? to_.filename().string() : descend(entry.path);
    const int dir = here();
    if (entry.type == TreeEntry::Type::directory) return enter(dir, entry);
    temporary_ = ".attest-" + base::random_hex(8);
    announced_ = entry;
    if (entry.type == TreeEntry::Type::symlink) {
      if (::symlinkat(entry.target.c_str(), dir, temporary_.c_str()) < 0) fail();
      auto [access, change] = times(entry.mtime_ns);
      const timespec both[2] = {access, change};
      ::utimensat(dir, temporary_.c_str(), both, AT_SYMLINK_NOFOLLOW);  // not every one keeps it
      put_in_place(dir);
      return;
    }
    file_.reset(::openat(dir, temporary_.c_str(),
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file_) fail();
    file_dir_ = dir;
  }

  void data(const TreeData& data) override {
    if (!file_) throw Error(Error::Kind::protocol, "a tree's data belongs to no file");
    auto rest = data.bytes;
    auto at = static_cast<off_t>(data.offset);
    while (!rest.empty()) {
      auto count = ::pwrite(file_.get(), rest.data(), rest.size(), at);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail();
      rest.remove_prefix(static_cast<std::size_t>(count));
      at += count;
    }
  }

  void file_end() override {
    if (!file_) throw Error(Error::Kind::protocol, "a tree's file ended before it began");
    auto [access, change] = times(announced_.mtime_ns);
    const timespec both[2] = {access, change};
    if (::ftruncate(file_.get(), static_cast<off_t>(announced_.size)) < 0 ||
        ::fchmod(file_.get(), announced_.mode & allowed_) < 0 || ::futimens(file_.get(), both) < 0)
      fail();
    put_in_place(file_dir_);
    file_.reset();
  }

 private:
  int here() const { return levels_.empty() ? parent_.get() : levels_.back().fd.get(); }

  // Leaves the directories that `path` is not in; returns its last component.
  std::string descend(const std::string& path) {
    auto parts = base::split(path, '/');
    if (levels_.empty()) throw Error(Error::Kind::protocol, "the tree has no root");
    std::size_t same = 1;  // the root is always on the way
    while (same < levels_.size() && same < parts.size() && levels_[same].name == parts[same - 1])
      ++same;
    leave(same);
    if (same != parts.size())
      throw Error(Error::Kind::protocol, "the directory of '" + base::printable(path) +
                                             "' did not come before it in the tree");
    return parts.back();
  }

  void leave(std::size_t count) {
    while (levels_.size() > count) levels_.pop_back();
  }

  void enter(int dir, const TreeEntry& entry) {
    // The root may be a symlink to a directory, which is the caller's own; nothing below it may.
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (entry.path.empty() ? 0 : O_NOFOLLOW);
    base::Fd fd(::openat(dir, name_.c_str(), flags));
    if (!fd) {
      const bool in_the_way = errno == ENOTDIR || errno == ELOOP;
      if (!in_the_way && errno != ENOENT) fail();
      if (in_the_way && ::unlinkat(dir, name_.c_str(), 0) < 0) fail();
      if (::mkdirat(dir, name_.c_str(), 0700) < 0) fail();
      fd.reset(::openat(dir, name_.c_str(), flags | O_NOFOLLOW));
      if (!fd) fail();
    }
    levels_.emplace_back(name_, std::move(fd), entry, allowed_);
  }

  void put_in_place(int dir) {
    if (::renameat(dir, temporary_.c_str(), dir, name_.c_str()) == 0) return;
    const int failure = errno;
    ::unlinkat(dir, temporary_.c_str(), 0);
    file_.reset();
    throw base::sys_error("writing '" + shown_ + "'", failure);
  }

  void drop_file() noexcept {
    if (!file_) return;
    file_.reset();
    ::unlinkat(file_dir_, temporary_.c_str(), 0);
  }

  [[noreturn]] void fail() {
    const int failure = errno;
    drop_file();
    throw base::sys_error("writing '" + shown_ + "'", failure);
  }

  std::filesystem::path to_;
  // Only root may give away its own rights, or means to.
  const std::uint32_t allowed_ = ::geteuid() == 0 ? 07777 : 01777;
  base::Fd parent_, file_;
  std::vector<Level> levels_;
  std::string name_, shown_, temporary_;
  int file_dir_ = -1;
  TreeEntry announced_;
};

}  // namespace

std::unique_ptr<TreeSink> write_tree(std::filesystem::path to) {
  return std::make_unique<HostSink>(std::move(to));
}

}  // namespace attest::guest
