// write: bytes into a file. A new file appears under its name when it is whole: nobody who waits
// for it sees half of it, and a full disk leaves nothing. What is there already is written into, so
// that it keeps its owner, its links and its place if it is a symlink, a device or a mount point;
// only a program that runs just now (ETXTBSY) is replaced.
#include "guest/agent/fd.h"
#include "guest/agent/files.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>

namespace attest::agent {
namespace {

constexpr mode_t no_mode = ~mode_t{0};

mode_t parse_mode(std::string_view text) {
  if (text.empty() || text.size() > 5) return no_mode;
  mode_t mode = 0;
  for (char c : text) {
    if (c < '0' || c > '7') return no_mode;
    mode = mode * 8 + static_cast<mode_t>(c - '0');
  }
  return mode > 07777 ? no_mode : mode;
}

class Write : public Operation {
 public:
  Write(const AgentFields& fields, Output& out, Loop& loop)
      : Operation(out),
        loop_(loop),
        path_(fields.get("path")),
        append_(fields.get("append") == "1"),
        parents_(fields.get("parents") == "1"),
        mode_given_(fields.has("mode")),
        mode_(parse_mode(fields.get("mode", "0644"))) {}
  ~Write() override { discard(); }

  void start() override {
    if (refuse_path(path_, out_)) return;
    if (mode_ == no_mode) return out_.error("usage", "the mode is no octal number up to 7777");
    if (parents_) {
      if (int code = make_directories(directory_of(path_))) return fail(code);
    }
    if (int code = open_it()) return fail(code);
    // What a descriptor of a fifo or terminal does not take at once is waited for.
    struct stat status;
    if (fstat(file_.get(), &status) != 0) return fail(errno);
    if (S_ISDIR(status.st_mode)) return fail(EISDIR);
    regular_ = S_ISREG(status.st_mode);
  }

  void on_data(std::uint8_t, std::string_view bytes) override {
    if (!file_) return;
    if (!waiting_.empty()) {
      waiting_ += bytes;
      return;
    }
    auto rest = bytes.substr(put(bytes));
    if (!rest.empty()) wait_with(rest);
  }

  void on_end(std::uint8_t) override {
    ended_ = true;
    if (waiting_.empty()) finish();
  }
  void on_cancel() override {
    discard();
    out_.error("timeout", "writing '" + path_ + "' was given up");
  }

 private:
  int open_it() {
    int flags = O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY | (append_ ? O_APPEND : O_TRUNC);
    struct stat status;
    bool there = lstat(path_.c_str(), &status) == 0;
    if (!there && errno != ENOENT) return errno;
    if (!there && !append_) return open_beside(mode_);
    // A symlink that leads nowhere is written through, as a shell's > does.
    file_.reset(open(path_.c_str(), flags | O_CREAT, mode_));
    if (file_) return mode_given_ && fchmod(file_.get(), mode_) != 0 ? errno : 0;
    if (errno == ETXTBSY && !append_ && stat(path_.c_str(), &status) == 0)
      return open_beside(mode_given_ ? mode_ : status.st_mode & 07777);
    return errno;
  }

  int open_beside(mode_t mode) {
    auto directory = directory_of(path_);
    unfinished_ = (directory == "/" ? "" : directory) + "/" + unfinished_name();
    file_.reset(open(unfinished_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file_) {
      unfinished_.clear();
      return errno;
    }
    return fchmod(file_.get(), mode) != 0 ? errno : 0;
  }

  // How many bytes went; all of them counts as done with after an error, too.
  std::size_t put(std::string_view bytes) {
    auto written = write_all(file_.get(), bytes);
    size_ += static_cast<std::int64_t>(written);
    out_.consumed(written);
    if (written == bytes.size() || (errno == EAGAIN && !regular_)) return written;
    fail(errno);
    return bytes.size();
  }

  void wait_with(std::string_view rest) {
    waiting_ = rest;
    bool can = loop_.watch(file_.get(), EPOLLOUT, [this](std::uint32_t) {
      waiting_.erase(0, put(waiting_));
      if (!waiting_.empty() || !file_) return;
      loop_.forget(file_.get());
      if (ended_) finish();
    });
    if (!can) fail(EAGAIN);
  }

  void finish() {
    if (!file_) return;
    // Some file systems tell only now that the disk was full.
    int raw = file_.release();
    loop_.forget(raw);
    if (close(raw) != 0 && errno != EINTR) return fail(errno);
    if (!unfinished_.empty()) {
      if (rename(unfinished_.c_str(), path_.c_str()) != 0) return fail(errno);
      unfinished_.clear();
    }
    out_.done(AgentFields().add("size", size_));
  }

  // Before the host hears of it: it may look at once.
  void discard() {
    if (file_) loop_.forget(file_.get());
    file_.reset();
    if (!unfinished_.empty()) unlink(unfinished_.c_str());
    unfinished_.clear();
  }

  void fail(int code) {
    discard();
    auto text = cannot("write", path_, code);
    if (size_ > 0 || code == ENOSPC || code == EDQUOT)
      text += ", after " + std::to_string(size_) + " bytes";
    out_.error("guest", text);
  }

  Loop& loop_;
  std::string path_, unfinished_, waiting_;
  bool append_, parents_, mode_given_, regular_ = false, ended_ = false;
  mode_t mode_;
  std::int64_t size_ = 0;
  Fd file_;
};

}  // namespace

std::unique_ptr<Operation> make_write(const AgentFields& fields, Output& out, Services services) {
  return std::make_unique<Write>(fields, out, services.loop);
}

}  // namespace attest::agent
