// pack: a file or a directory tree as the records of lib/proto/agent_tree.h, in the order of names.
// The path itself is followed if it is a symlink; those below it are sent as they are. Sockets,
// fifos and devices are left out and named. Names of one file (hard links) are sent each for
// itself.
#include "guest/agent/fd.h"
#include "guest/agent/files.h"
#include "guest/agent/piece.h"
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
// Content up to this size is collected with other records; more goes out from where it is read to.
constexpr std::int64_t small_content = 16 << 10;

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
      const bool large = file_ && data_end_ - offset_ > small_content;
      if (!finished_ && !large && buffer_.size() + 4096 <= piece_size) {
        step();
      } else if (!buffer_.empty()) {
        if (!send_collected()) return;
      } else if (large) {
        if (!send_piece()) return;
      } else {
        out_.end(proto::agent_output);
        return out_.done(summary_.add("files", files_));
      }
    }
    turn_.again([this] { work(); });
  }

  // False if there is no room; on_room() follows then.
  bool send_collected() {
    auto size = std::min(out_.room(), buffer_.size());
    if (size == 0) return false;
    out_.data(proto::agent_output, std::string_view(buffer_).substr(0, size));
    buffer_.erase(0, size);
    return true;
  }

  // The same for the next piece of a large file, which is not collected: it would cost a copy.
  bool send_piece() {
    auto room = static_cast<std::int64_t>(out_.room());
    if (room == 0) return false;
    if (room < small_content) {  // a part of the host's window, or of a turn
      collect(room);
      return true;
    }
    constexpr std::int64_t content_at = 16;  // where memory likes it
    auto size = read_at_offset(piece_buffer() + content_at,
                               std::min<std::int64_t>(room, piece_size) - content_at);
    if (size == 0) return true;
    auto head = proto::tree_data_head(static_cast<std::uint64_t>(offset_),
                                      static_cast<std::uint32_t>(size));
    auto* record = piece_buffer() + content_at - std::ptrdiff_t{head_size};
    head.copy(record, head_size);
    out_.data(proto::agent_output, {record, head_size + size});
    offset_ += static_cast<std::int64_t>(size);
    return true;
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
    if (data_end_ - offset_ <= small_content) collect(small_content);
  }

  void collect(std::int64_t most) {
    auto free = static_cast<std::int64_t>(piece_size - buffer_.size() - head_size);
    auto size = read_at_offset(piece_buffer(), std::min(most, free));
    if (size == 0) return;
    buffer_ += proto::tree_data_head(static_cast<std::uint64_t>(offset_),
                                     static_cast<std::uint32_t>(size));
    buffer_.append(piece_buffer(), size);
    offset_ += static_cast<std::int64_t>(size);
  }

  // At most `most` bytes of the data at offset_; 0 if the file or the whole operation is over.
  std::size_t read_at_offset(char* to, std::int64_t most) {
    auto wanted = static_cast<std::size_t>(std::min(most, data_end_ - offset_));
    ssize_t size = 0;
    do size = pread(file_.get(), to, wanted, offset_);
    while (size < 0 && errno == EINTR);
    if (size < 0) fail(file_path_, errno);
    if (size == 0) end_file();  // it has shrunk: the rest is zeros, as tar does it
    return size > 0 ? static_cast<std::size_t>(size) : 0;
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
    offset_ = data_end_ = 0;
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
