#include "lib/base/fd.h"
#include "lib/base/sys_error.h"
#include "lib/guest/host_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

namespace attest::guest {
namespace {

using proto::TreeData;
using proto::TreeEntry;

constexpr std::size_t piece = 64 << 10;

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

// One directory on the way to the entry that was given last.
struct Level {
  base::Fd fd;
  std::string path;  // below the root
  std::vector<std::string> names;
  std::size_t next = 0;
};

class HostSource final : public TreeSource {
 public:
  explicit HostSource(std::filesystem::path from) : from_(std::move(from)) {
    root_.reset(::open(from_.c_str(), O_PATH | O_CLOEXEC));
    if (!root_) throw base::sys_error("reading '" + from_.string() + "'");
  }

  std::optional<TreeEntry> next() override {
    file_.reset();
    if (root_) {
      // /proc gives what the symlink points at; the descriptor itself cannot be read.
      auto self = "/proc/self/fd/" + std::to_string(root_.get());
      auto entry = look(AT_FDCWD, self, "", 0);
      root_.reset();
      if (!entry)
        throw Error(Error::Kind::host,
                    "'" + from_.string() + "' is neither a file nor a directory");
      return entry;
    }
    while (!levels_.empty()) {
      auto& level = levels_.back();
      if (level.next == level.names.size()) {
        levels_.pop_back();
        continue;
      }
      const auto& name = level.names[level.next++];
      auto path = level.path.empty() ? name : level.path + "/" + name;
      if (auto entry = look(level.fd.get(), name, path, AT_SYMLINK_NOFOLLOW)) return entry;
    }
    return std::nullopt;
  }

  std::optional<TreeData> read() override {
    if (!file_ || at_ >= size_) return std::nullopt;
    if (at_ >= data_end_) {
      auto data = ::lseek(file_.get(), static_cast<off_t>(at_), SEEK_DATA);
      if (data < 0 && errno == ENXIO) return std::nullopt;  // a hole up to the end
      if (data < 0) throw base::sys_error("reading '" + file_path_ + "'");
      auto hole = ::lseek(file_.get(), data, SEEK_HOLE);
      if (hole < 0) throw base::sys_error("reading '" + file_path_ + "'");
      at_ = static_cast<std::uint64_t>(data);
      data_end_ = std::min(static_cast<std::uint64_t>(hole), size_);
      if (at_ >= size_)
        return std::nullopt;  // it has grown meanwhile; the rest is not of this copy
    }
    auto want = std::min<std::uint64_t>(piece, data_end_ - at_);
    auto count = ::pread(file_.get(), buffer_.data(), want, static_cast<off_t>(at_));
    if (count < 0) throw base::sys_error("reading '" + file_path_ + "'");
    if (count == 0) return std::nullopt;  // it has shrunk meanwhile: the rest counts as a hole
    TreeData data{at_, std::string_view(buffer_.data(), static_cast<std::size_t>(count))};
    at_ += static_cast<std::uint64_t>(count);
    return data;
  }

 private:
  // What stands at `name` of `dir`; nullopt for what no tree can hold. Opens files and directories.
  std::optional<TreeEntry> look(int dir, const std::string& name, const std::string& path,
                                int flags) {
    const auto shown = path.empty() ? from_.string() : from_.string() + "/" + path;
    struct stat status{};
    if (::fstatat(dir, name.c_str(), &status, flags) < 0) {
      if (errno == ENOENT) return std::nullopt;  // removed since its directory was read
      throw base::sys_error("reading '" + shown + "'");
    }
    TreeEntry entry;
    entry.path = path;
    entry.mode = status.st_mode & 07777;
    entry.mtime_ns = nanoseconds(status.st_mtim);
    const int nofollow = flags ? O_NOFOLLOW : 0;
    if (S_ISREG(status.st_mode)) {
      entry.type = TreeEntry::Type::file;
      file_.reset(::openat(dir, name.c_str(), O_RDONLY | O_CLOEXEC | nofollow));
      if (!file_) throw base::sys_error("reading '" + shown + "'");
      entry.size = size_ = static_cast<std::uint64_t>(status.st_size);
      at_ = data_end_ = 0;
      file_path_ = shown;
    } else if (S_ISDIR(status.st_mode)) {
      entry.type = TreeEntry::Type::directory;
      enter(dir, name, path, shown, nofollow);
    } else if (S_ISLNK(status.st_mode)) {
      entry.type = TreeEntry::Type::symlink;
      char target[PATH_MAX];
      auto count = ::readlinkat(dir, name.c_str(), target, sizeof target);
      if (count < 0) throw base::sys_error("reading '" + shown + "'");
      entry.target.assign(target, static_cast<std::size_t>(count));
    } else {
      return std::nullopt;
    }
    return entry;
  }

  void enter(int dir, const std::string& name, const std::string& path, const std::string& shown,
             int nofollow) {
    Level level;
    level.fd.reset(::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | nofollow));
    if (!level.fd) throw base::sys_error("reading '" + shown + "'");
    level.path = path;
    int copy = ::fcntl(level.fd.get(), F_DUPFD_CLOEXEC, 0);
    DIR* list = copy < 0 ? nullptr : ::fdopendir(copy);
    if (!list) throw base::sys_error("reading '" + shown + "'");
    errno = 0;
    while (auto* one = ::readdir(list)) {
      std::string entry = one->d_name;
      if (entry != "." && entry != "..") level.names.push_back(std::move(entry));
    }
    const int failure = errno;
    ::closedir(list);
    if (failure) throw base::sys_error("reading '" + shown + "'", failure);
    std::sort(level.names.begin(), level.names.end());
    levels_.push_back(std::move(level));
  }

  std::filesystem::path from_;
  base::Fd root_, file_;
  std::string file_path_;
  std::uint64_t size_ = 0, at_ = 0, data_end_ = 0;
  std::vector<Level> levels_;
  std::vector<char> buffer_ = std::vector<char>(piece);
};

}  // namespace

std::unique_ptr<TreeSource> read_tree(std::filesystem::path from) {
  return std::make_unique<HostSource>(std::move(from));
}

}  // namespace attest::guest
