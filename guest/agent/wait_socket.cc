// wait for=socket: until somebody listens on a unix socket. inotify tells when its file is there;
// whether somebody listens on it, only connecting tells.
#include "guest/agent/fd.h"
#include "guest/agent/files.h"
#include "guest/agent/path_watch.h"
#include "guest/agent/wait.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace attest::agent {
namespace {

// Connects and hangs up; 0 or an errno.
int try_connect(const std::string& path, int type) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string name = path;
  Fd directory;
  if (name.size() >= sizeof address.sun_path) {
    // A way round the limit of 107 bytes.
    directory.reset(open(directory_of(path).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    name = "/proc/self/fd/" + std::to_string(directory.get()) + "/" + name_of(path);
    if (!directory || name.size() >= sizeof address.sun_path) return ENAMETOOLONG;
  }
  memcpy(address.sun_path, name.c_str(), name.size());
  Fd fd(socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return errno;
  auto* to = reinterpret_cast<const sockaddr*>(&address);
  return connect(fd.get(), to, sizeof address) == 0 ? 0 : errno;
}

class SocketWait : public Wait {
 public:
  SocketWait(const AgentFields& fields, Output& out, Loop& loop)
      : Wait(out, loop, "socket '" + std::string(fields.get("path")) + "'"),
        path_(fields.get("path")),
        datagram_(fields.get("datagram") == "1") {}

  void start() override {
    if (refuse_path(path_, out_)) return;
    watch_ = std::make_unique<PathWatch>(loop_, path_,
                                         [this](const std::vector<PathWatch::Entry>&) { look(); });
    look();
  }

 private:
  void look() {
    watch_->arm();
    pace_ = Pace();
    probe();
  }

  void probe() {
    struct stat status;
    auto name = "'" + path_ + "'";
    if (stat(path_.c_str(), &status) != 0) return state(name + " is not there");
    if (!S_ISSOCK(status.st_mode)) return state(name + " is no socket");
    int code = try_connect(path_, datagram_ ? SOCK_DGRAM : SOCK_STREAM);
    if (code == EPROTOTYPE && !datagram_) code = try_connect(path_, SOCK_SEQPACKET);
    if (code == 0) return out_.done();
    if (code == EPROTOTYPE) {
      return out_.error("guest",
                        name + (datagram_ ? " is no datagram socket"
                                          : " is a datagram socket, which was not asked for"));
    }
    // Refused: the file is older than whoever listens. EAGAIN: the queue is full, nobody accepts.
    state(name + ": " + std::string(error_text(code)));
    in(pace_.next(), [this] { probe(); });
  }

  std::string path_;
  bool datagram_;
  Pace pace_;
  std::unique_ptr<PathWatch> watch_;
};

}  // namespace

std::unique_ptr<Operation> make_socket_wait(const AgentFields& fields, Output& out,
                                            Services services) {
  return std::make_unique<SocketWait>(fields, out, services.loop);
}

}  // namespace attest::agent
