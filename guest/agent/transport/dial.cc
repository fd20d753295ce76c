// First: older versions of the header after it do not include it themselves.
#include <sys/socket.h>

#include <linux/vm_sockets.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "guest/agent/connection.h"
#include "guest/agent/transport/transport.h"

namespace attest::agent {
namespace {

using std::chrono::milliseconds;

class Dialler final : public Transport {
 public:
  Dialler(Services services, std::uint32_t cid, std::uint32_t port)
      : services_(services), cid_(cid), port_(port) {
    dial();
  }
  Dialler(const Dialler&) = delete;
  Dialler& operator=(const Dialler&) = delete;
  ~Dialler() override {
    services_.loop.cancel(timer_);
    hang_up();
  }

 private:
  void dial() {
    timer_ = 0;
    fd_ = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0) return again();
    sockaddr_vm address{};
    address.svm_family = AF_VSOCK;
    address.svm_cid = cid_;
    address.svm_port = port_;
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
      return connected();
    if (errno != EINPROGRESS ||
        !services_.loop.watch(fd_, EPOLLOUT, [this](std::uint32_t) { answered(); }))
      again();
  }

  void answered() {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    services_.loop.forget(fd_);
    if (error != 0) return again();
    connected();
  }

  void connected() {
    interval_ = milliseconds(20);
    connection_ = std::make_unique<Connection>(services_, fd_, fd_, [this](int) { again(); });
  }

  void again() {
    hang_up();
    timer_ = services_.loop.at(Clock::now() + interval_, [this] { dial(); });
    interval_ = std::min(interval_ * 2, milliseconds(1000));
  }

  void hang_up() {
    connection_.reset();
    services_.loop.forget(fd_);
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

  Services services_;
  const std::uint32_t cid_, port_;
  int fd_ = -1;
  milliseconds interval_{20};
  Loop::Timer timer_ = 0;
  std::unique_ptr<Connection> connection_;
};

}  // namespace

std::unique_ptr<Transport> dial_vsock(Services services, std::uint32_t cid, std::uint32_t port) {
  return std::make_unique<Dialler>(services, cid, port);
}

}  // namespace attest::agent
