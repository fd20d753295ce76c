// unpack: the records of lib/proto/agent_tree.h become files. A file gets its name when it is
// whole, and replaces what had that name unless that is a directory. Directories that are there
// already are entered and keep their mode; new ones get theirs when they are left, so that they may
// be read-only. Below the target no symlink is followed.
#include "guest/agent/fd.h"
#include "guest/agent/files.h"
#include "guest/agent/piece.h"
#include "lib/proto/agent_tree.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>
#include <vector>

namespace attest::agent {
namespace {

using proto::TreeEntry;

std::array<timespec, 2> times_of(std::int64_t mtime_ns) {
  auto seconds = mtime_ns / 1'000'000'000, rest = mtime_ns % 1'000'000'000;
  if (rest < 0) rest += 1'000'000'000, --seconds;
  return {timespec{0, UTIME_OMIT}, timespec{static_cast<time_t>(seconds), static_cast<long>(rest)}};
}

// A directory on the way to where things are being made.
struct Open {
  TreeEntry entry;
  Fd fd;
  bool is_new;
};

class Unpack : public Operation {
 public:
  Unpack(const AgentFields& fields, Output& out, Loop& loop)
      : Operation(out),
        path_(without_end_slashes(fields.get("path"))),
        parents_(fields.get("parents") == "1"),
        turn_(loop) {}
  ~Unpack() override {
    drop_file();
    while (!open_.empty()) leave();
  }

  void start() override {
    if (refuse_path(path_, out_)) return;
    auto directory = directory_of(path_);
    if (int code = parents_ ? make_directories(directory) : 0) return fail("", code);
    base_.reset(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!base_) return fail("", errno);
    out_.widen(proto::agent_tree_window);
  }

  void on_data(std::uint8_t, std::string_view bytes) override {
    if (over_) return;
    decoder_.feed(bytes);
    pending_ += bytes.size();
    if (!busy_) work();
  }
  void on_end(std::uint8_t) override {
    ended_ = true;
    if (!busy_) work();
  }
  void on_cancel() override {
    over_ = true;
    drop_file();
    out_.error("timeout", "unpacking '" + path_ + "' was given up");
  }

 private:
  void work() {
    busy_ = false;
    for (int count = 0; count < 200; ++count) {
      if (over_) return;
      auto event = decoder_.next();
      if (!event) return pause();
      if (auto* entry = std::get_if<TreeEntry>(&*event)) {
        if (int code = make(*entry)) return fail(entry->path, code);
      } else if (auto* data = std::get_if<proto::TreeData>(&*event)) {
        if (int code = put(*data)) return fail(file_entry_.path, code);
      } else if (std::holds_alternative<proto::TreeFileEnd>(*event)) {
        if (int code = end_file()) return fail(file_entry_.path, code);
      } else {
        return finish();
      }
    }
    busy_ = true;
    decoder_.keep();
    turn_.again([this] { work(); });
  }

  // All that came is used up.
  void pause() {
    out_.consumed(std::exchange(pending_, 0));
    if (decoder_.broken().empty() && !ended_) return;
    over_ = true;
    drop_file();
    out_.error("protocol",
               "the tree for '" + path_ + "' is broken: " +
                   (decoder_.broken().empty() ? "its end is missing" : decoder_.broken()));
  }

  int make(const TreeEntry& entry) {
    auto parent = entry.path.rfind('/');
    auto above = parent == std::string::npos ? "" : entry.path.substr(0, parent);
    while (open_.size() > 1 && open_.back().entry.path != above) leave();
    ++files_;
    int at = entry.path.empty() ? base_.get() : open_.back().fd.get();
    auto name = name_of(entry.path.empty() ? path_ : entry.path);
    switch (entry.type) {
      case TreeEntry::Type::directory:
        return enter(entry, at, name);
      case TreeEntry::Type::symlink:
        return make_symlink(entry, at, name);
      case TreeEntry::Type::file:
        break;
    }
    if (name.empty()) return EISDIR;
    at_ = at;
    name_ = name;
    file_entry_ = entry;
    unfinished_ = unfinished_name();
    file_.reset(
        openat(at, unfinished_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file_) unfinished_.clear();
    written_to_ = 0;
    return file_ ? 0 : errno;
  }

  int enter(const TreeEntry& entry, int at, const std::string& name) {
    // The target itself may be a symlink to a directory; "/" has no name in its parent.
    bool root = entry.path.empty();
    bool made = !name.empty() && mkdirat(at, name.c_str(), 0700) == 0;
    if (!made && !name.empty() && errno != EEXIST) return errno;
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (root && !made ? 0 : O_NOFOLLOW);
    Fd fd(root && !made ? ::open(path_.c_str(), flags) : openat(at, name.c_str(), flags));
    if (!fd) return errno;
    open_.push_back({entry, std::move(fd), made});
    return 0;
  }

  void leave() {
    auto& directory = open_.back();
    if (directory.is_new) {
      fchmod(directory.fd.get(), directory.entry.mode);
      futimens(directory.fd.get(), times_of(directory.entry.mtime_ns).data());
    }
    open_.pop_back();
  }

  int make_symlink(const TreeEntry& entry, int at, const std::string& name) {
    auto unfinished = unfinished_name();
    if (symlinkat(entry.target.c_str(), at, unfinished.c_str()) != 0) return errno;
    utimensat(at, unfinished.c_str(), times_of(entry.mtime_ns).data(), AT_SYMLINK_NOFOLLOW);
    if (renameat(at, unfinished.c_str(), at, name.c_str()) == 0) return 0;
    int code = errno;
    unlinkat(at, unfinished.c_str(), 0);
    return code;
  }

  int put(const proto::TreeData& data) {
    // A gap is skipped over, not written: it stays a hole.
    if (data.offset != written_to_ &&
        lseek(file_.get(), static_cast<off_t>(data.offset), SEEK_SET) < 0)
      return errno;
    if (write_all(file_.get(), data.bytes) != data.bytes.size()) return errno;
    written_to_ = data.offset + data.bytes.size();
    return 0;
  }

  int end_file() {
    auto& entry = file_entry_;
    if (written_to_ != entry.size && ftruncate(file_.get(), static_cast<off_t>(entry.size)) != 0)
      return errno;
    // After the content: writing takes setuid away and sets the time.
    if (fchmod(file_.get(), entry.mode) != 0) return errno;
    futimens(file_.get(), times_of(entry.mtime_ns).data());
    if (renameat(at_, unfinished_.c_str(), at_, name_.c_str()) == 0) {
      unfinished_.clear();
    } else if (errno != EBUSY) {
      return errno;
    } else if (int code = write_into_mount_point()) {
      return code;
    }
    drop_file();
    return 0;
  }

  // A file that something is mounted on (/etc/resolv.conf in containers) has to stay that file.
  int write_into_mount_point() {
    Fd to(openat(at_, name_.c_str(), O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC));
    if (!to) return errno;
    off_t at = 0;
    for (ssize_t size; (size = pread(file_.get(), piece_buffer(), piece_size, at)) != 0; at += size)
      if (size < 0 || write_all(to.get(), {piece_buffer(), static_cast<std::size_t>(size)}) !=
                          static_cast<std::size_t>(size))
        return errno;
    return 0;
  }

  void drop_file() {
    if (!unfinished_.empty()) unlinkat(at_, unfinished_.c_str(), 0);
    unfinished_.clear();
    file_.reset();
  }

  void finish() {
    while (!open_.empty()) leave();
    over_ = true;
    out_.done(AgentFields().add("files", files_));
  }

  void fail(const std::string& path, int code) {
    over_ = true;
    auto whole = path.empty() ? path_ : path_ + "/" + path;
    auto text = cannot("unpack", whole, code);
    if (code == ELOOP || code == ENOTDIR)
      text += " (below the target no symbolic link is followed)";
    if (code == ENOSPC || code == EDQUOT)
      text += ", after " + std::to_string(files_ - 1) + " whole entries";
    drop_file();
    out_.error("guest", text);
  }

  std::string path_;
  bool parents_, busy_ = false, ended_ = false, over_ = false;
  Turn turn_;
  proto::TreeDecoder decoder_;
  std::size_t pending_ = 0;  // bytes in the decoder that were not reported as consumed
  Fd base_;
  std::vector<Open> open_;  // the root first
  std::int64_t files_ = 0;
  // The file in the making.
  TreeEntry file_entry_;
  Fd file_;
  int at_ = -1;
  std::string name_, unfinished_;
  std::uint64_t written_to_ = 0;
};

}  // namespace

std::unique_ptr<Operation> make_unpack(const AgentFields& fields, Output& out, Services services) {
  return std::make_unique<Unpack>(fields, out, services.loop);
}

}  // namespace attest::agent
