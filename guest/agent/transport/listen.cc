// First: older versions of the header after it do not include it themselves.
#include <sys/socket.h>

#include <linux/vm_sockets.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <unordered_map>
#include <utility>

#include "guest/agent/connection.h"
#include "guest/agent/transport/transport.h"

namespace attest::agent {
namespace {

// For a family whose module is not loaded yet, or a directory that is not mounted yet.
constexpr auto retry_interval = std::chrono::milliseconds(250);
// Descriptors or memory are short: some command has to end first.
constexpr auto shortage_interval = std::chrono::milliseconds(100);

class Listener final : public Transport {
 public:
  /// `make` gives a bound socket or -1.
  Listener(Services services, std::function<int()> make)
      : services_(services), make_(std::move(make)) {
    try_listen();
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener() override {
    services_.loop.cancel(timer_);
    services_.loop.forget(fd_);
    if (fd_ >= 0) close(fd_);
    sessions_.clear();
  }

 private:
  struct Session {
    int fd;
    std::unique_ptr<Connection> connection;
    explicit Session(int of) : fd(of) {}
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session() {
      connection.reset();
      close(fd);
    }
  };

  void try_listen() {
    timer_ = 0;
    fd_ = make_();
    if (fd_ >= 0 && listen(fd_, 128) == 0 &&
        services_.loop.watch(fd_, EPOLLIN, [this](std::uint32_t) { take(); }))
      return;
    if (fd_ >= 0) close(std::exchange(fd_, -1));
    timer_ = services_.loop.at(Clock::now() + retry_interval, [this] { try_listen(); });
  }

  void take() {
    const int fd = accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS) return;
      services_.loop.change(fd_, 0);
      timer_ = services_.loop.at(Clock::now() + shortage_interval, [this] {
        timer_ = 0;
        services_.loop.change(fd_, EPOLLIN);
      });
      return;
    }
    auto session = std::make_unique<Session>(fd);
    session->connection =
        std::make_unique<Connection>(services_, fd, fd, [this, fd](int) { sessions_.erase(fd); });
    sessions_[fd] = std::move(session);
  }

  Services services_;
  std::function<int()> make_;
  int fd_ = -1;
  Loop::Timer timer_ = 0;
  std::unordered_map<int, std::unique_ptr<Session>> sessions_;
};

int bound_or_closed(int fd, const sockaddr* address, socklen_t size) {
  if (fd < 0 || bind(fd, address, size) == 0) return fd;
  close(fd);
  return -1;
}

}  // namespace

std::unique_ptr<Transport> serve_vsock(Services services, std::uint32_t port) {
  return std::make_unique<Listener>(services, [port] {
    sockaddr_vm address{};
    address.svm_family = AF_VSOCK;
    address.svm_port = port;
    address.svm_cid = VMADDR_CID_ANY;
    return bound_or_closed(socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                           reinterpret_cast<const sockaddr*>(&address), sizeof address);
  });
}

std::unique_ptr<Transport> serve_unix(Services services, std::string path) {
  return std::make_unique<Listener>(services, [path = std::move(path)] {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return -1;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    unlink(path.c_str());
    const auto before = umask(0177);
    const int fd = bound_or_closed(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                                   reinterpret_cast<const sockaddr*>(&address), sizeof address);
    umask(before);
    return fd;
  });
}

}  // namespace attest::agent
