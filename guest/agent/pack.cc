// pack: a file or a directory tree as the records of lib/proto/agent_tree.h, in the order of names.
// The path itself is followed if it is a symlink; those below it are sent as they are. Sockets,
// fifos and devices are left out and named. Names of one file (hard links) are sent each for
// itself.
#include "guest/agent/fd.h"
#include "guest/agent/files.h"
#include "lib/proto/agent_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace attest::agent {
namespace {

using proto::TreeEntry;

constexpr std::size_t head_size = proto::tree_data_head_size;
// What is read of a file that says it is empty: one of /proc or /sys has content all the same.
constexpr std::size_t magic_limit = 1 << 20;

class Pack : public Operation {
 public:
  Pack(const AgentFields& fields, Output& out, Loop& loop)
      : Operation(out), path_(fields.get("path")), turn_(loop) {}

  void start() override {
    if (refuse_path(path_, out_)) return;
    buffer_.reserve(piece_size);
    root_.reset(open(path_.c_str(), O_PATH | O_CLOEXEC));
    struct stat status;
    if (!root_ || fstat(root_.get(), &status) != 0) return fail("", errno);
    if (S_ISREG(status.st_mode)) {
      if (int code = begin_file(AT_FDCWD, path_.c_str(), "", 0)) return fail("", code);
    } else if (S_ISDIR(status.st_mode)) {
      announce(TreeEntry::Type::directory, "", status);
      if (int code = enter("")) return fail("", code);
    } else {
      return out_.error("guest", "cannot pack '" + path_ + "': it is neither file nor directory");
    }
    work();
  }
  void on_room() override { work(); }
  void on_cancel() override { out_.error("timeout", "packing '" + path_ + "' was given up"); }

 private:
  struct Directory {
    std::string path;
    std::vector<std::string> names;  // the next one last
  };

  // Fills pieces and sends them, as many as there is room for. Small files make much work for few
  // bytes, so there is a bound on that, too.
  void work() {
    for (int steps = 0; steps < 500; ++steps) {
      if (failed_) return;
      if (buffer_.size() + 4096 <= piece_size && !finished_) {
        step();
        continue;
      }
      auto size = std::min(out_.room(), buffer_.size());
      if (size == 0 && !buffer_.empty()) return;
      if (size > 0) out_.data(proto::agent_output, std::string_view(buffer_).substr(0, size));
      buffer_.erase(0, size);
      if (!buffer_.empty() || !finished_) continue;
      out_.end(proto::agent_output);
      return out_.done(summary_.add("files", files_));
    }
    turn_.again([this] { work(); });
  }

  void step() {
    if (file_) return some_of_file();
    while (!open_.empty() && open_.back().names.empty()) open_.pop_back();
    if (open_.empty()) {
      buffer_ += proto::tree_end();
      finished_ = true;
      return;
    }
    auto& directory = open_.back();
    auto path = (directory.path.empty() ? "" : directory.path + "/") + directory.names.back();
    directory.names.pop_back();
    if (!proto::tree_path_ok(path)) return fail(path, ENAMETOOLONG);
    // What has gone since the directory was read was never there.
    if (int code = add(path); code != 0 && code != ENOENT) fail(path, code);
  }

  int add(const std::string& path) {
    struct stat status;
    if (fstatat(root_.get(), path.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return errno;
    if (S_ISREG(status.st_mode)) return begin_file(root_.get(), path.c_str(), path, O_NOFOLLOW);
    if (S_ISDIR(status.st_mode)) {
      announce(TreeEntry::Type::directory, path, status);
      return enter(path);
    }
    if (!S_ISLNK(status.st_mode)) {
      summary_.add("skipped", path);
      return 0;
    }
    char target[4096];
    ssize_t size = readlinkat(root_.get(), path.c_str(), target, sizeof target);
    if (size < 0) return errno;
    announce(TreeEntry::Type::symlink, path, status, std::string(target, size));
    return 0;
  }

  int enter(const std::string& path) {
    int fd = openat(root_.get(), path.empty() ? "." : path.c_str(),
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR* stream = fd < 0 ? nullptr : fdopendir(fd);
    if (!stream) return errno;
    Directory directory{path, {}};
    errno = 0;
    while (auto* found = readdir(stream)) {
      std::string_view name = found->d_name;
      if (name != "." && name != "..") directory.names.emplace_back(name);
    }
    int code = errno;
    closedir(stream);
    std::sort(directory.names.begin(), directory.names.end(), std::greater<>());
    open_.push_back(std::move(directory));
    return code;
  }

  void announce(TreeEntry::Type type, const std::string& path, const struct stat& status,
                std::string target = "", std::uint64_t size = 0) {
    TreeEntry entry{type, path, status.st_mode & 07777, size, mtime_ns(status), std::move(target)};
    buffer_ += proto::tree_entry(entry);
    ++files_;
  }

  int begin_file(int at, const char* name, const std::string& path, int flags) {
    file_.reset(openat(at, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | flags));
    struct stat status;
    if (!file_ || fstat(file_.get(), &status) != 0) return errno;
    if (!S_ISREG(status.st_mode)) {  // became another thing since it was looked at
      file_.reset();
      return ENOENT;
    }
    file_path_ = path;
    offset_ = 0;
    data_end_ = 0;
    size_ = status.st_size;
    sparse_ = status.st_blocks * 512 < size_;
    std::string magic = size_ == 0 ? magic_content() : "";
    announce(TreeEntry::Type::file, path, status, "",
             static_cast<std::uint64_t>(size_) + magic.size());
    if (!magic.empty()) {
      buffer_ += proto::tree_data_head(0, static_cast<std::uint32_t>(magic.size()));
      buffer_ += magic;
    }
    return 0;
  }

  std::string magic_content() {
    std::string content;
    ssize_t size = 0;
    while (content.size() + piece_size <= magic_limit &&
           (size = read(file_.get(), piece_buffer(), piece_size)) > 0)
      content.append(piece_buffer(), static_cast<std::size_t>(size));
    return content;
  }

  void some_of_file() {
    if (offset_ >= size_) return end_file();
    if (offset_ >= data_end_) find_data();
    if (offset_ >= size_) return end_file();
    auto before = buffer_.size();
    auto wanted = std::min<std::int64_t>(
        data_end_ - offset_, static_cast<std::int64_t>(piece_size - before - head_size));
    buffer_.resize(before + head_size + static_cast<std::size_t>(wanted));
    ssize_t size = 0;
    do {
      size = pread(file_.get(), buffer_.data() + before + head_size,
                   static_cast<std::size_t>(wanted), offset_);
    } while (size < 0 && errno == EINTR);
    int code = errno;
    buffer_.resize(size > 0 ? before + head_size + static_cast<std::size_t>(size) : before);
    if (size < 0) return fail(file_path_, code);
    if (size == 0) return end_file();  // it has shrunk: the rest is zeros, as tar does it
    buffer_.replace(before, head_size,
                    proto::tree_data_head(static_cast<std::uint64_t>(offset_),
                                          static_cast<std::uint32_t>(size)));
    offset_ += size;
  }

  // Moves to the next data; all is data where the file system knows no holes.
  void find_data() {
    data_end_ = size_;
    if (!sparse_) return;
    auto data = lseek(file_.get(), offset_, SEEK_DATA);
    if (data < 0 && errno == ENXIO) {
      offset_ = size_;
      return;
    }
    if (data < 0) return;
    offset_ = data;
    auto hole = lseek(file_.get(), offset_, SEEK_HOLE);
    if (hole > offset_) data_end_ = std::min<std::int64_t>(hole, size_);
  }

  void end_file() {
    buffer_ += proto::tree_file_end();
    file_.reset();
  }

  void fail(const std::string& path, int code) {
    failed_ = true;
    out_.error("guest", cannot("read", path.empty() ? path_ : path_ + "/" + path, code));
  }

  std::string path_, buffer_, file_path_;
  Turn turn_;
  Fd root_, file_;
  std::vector<Directory> open_;
  std::int64_t offset_ = 0, data_end_ = 0, size_ = 0, files_ = 0;
  bool sparse_ = false, finished_ = false, failed_ = false;
  AgentFields summary_;
};

}  // namespace

std::unique_ptr<Operation> make_pack(const AgentFields& fields, Output& out, Services services) {
  return std::make_unique<Pack>(fields, out, services.loop);
}

}  // namespace attest::agent
