// read: a file's bytes. Whatever can make a reader wait (a fifo, a terminal) is waited for by the
// loop. Files of /proc say that they are empty, so the end is where read() says it is.
#include "guest/agent/fd.h"
#include "guest/agent/files.h"
#include "guest/agent/piece.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace attest::agent {
namespace {

class Read : public Operation {
 public:
  Read(const AgentFields& fields, Output& out, Loop& loop)
      : Operation(out),
        loop_(loop),
        path_(fields.get("path")),
        limit_given_(fields.has("limit")),
        offset_(fields.number("offset").value_or(0)),
        left_(fields.number("limit").value_or(0)) {}
  ~Read() override {
    if (file_) loop_.forget(file_.get());
  }

  void start() override {
    if (refuse_path(path_, out_)) return;
    if (offset_ < 0 || left_ < 0) return out_.error("usage", "a negative offset or limit");
    file_.reset(open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    if (!file_) return fail(errno);
    struct stat status;
    if (fstat(file_.get(), &status) != 0) return fail(errno);
    if (S_ISDIR(status.st_mode)) return fail(EISDIR);
    if (offset_ > 0 && lseek(file_.get(), offset_, SEEK_SET) < 0) return fail(errno);
    AgentFields facts;
    add_stat(facts, status);
    out_.event(facts);
    // Nobody may have opened a fifo's other end yet; read() would call that its end.
    if (S_ISFIFO(status.st_mode)) return wait();
    some();
  }
  void on_room() override {
    if (!waiting_) some();
  }
  void on_cancel() override { out_.error("timeout", "reading '" + path_ + "' was given up"); }

 private:
  void some() {
    while (auto room = std::min(out_.room(), piece_size)) {
      if (limit_given_) room = std::min(room, static_cast<std::size_t>(left_));
      ssize_t size = room == 0 ? 0 : read(file_.get(), piece_buffer(), room);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0 && errno == EAGAIN) return wait();
      // A terminal whose other end is closed.
      if (size < 0 && errno == EIO && any_ && isatty(file_.get())) size = 0;
      if (size < 0) return fail(errno);
      if (size == 0) return finish();
      any_ = true;
      left_ -= size;
      out_.data(proto::agent_output, std::string_view(piece_buffer(), size));
    }
  }

  void wait() {
    waiting_ = true;
    bool can = loop_.watch(file_.get(), EPOLLIN, [this](std::uint32_t) {
      waiting_ = false;
      loop_.forget(file_.get());
      some();
    });
    if (!can) fail(EAGAIN);
  }

  void finish() {
    out_.end(proto::agent_output);
    out_.done();
  }
  void fail(int code) { out_.error("guest", cannot("read", path_, code)); }

  Loop& loop_;
  std::string path_;
  bool limit_given_, waiting_ = false, any_ = false;
  std::int64_t offset_, left_;
  Fd file_;
};

}  // namespace

std::unique_ptr<Operation> make_read(const AgentFields& fields, Output& out, Services services) {
  return std::make_unique<Read>(fields, out, services.loop);
}

}  // namespace attest::agent
