// First: older versions of the header after it do not include it themselves.
#include <sys/socket.h>

#include <linux/vm_sockets.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "guest/agent/connection.h"
#include "guest/agent/transport/transport.h"

namespace attest::agent {
namespace {

using std::chrono::milliseconds;

// Whom to dial: a vsock or a unix address.
struct Address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
};

class Dialler final : public Transport {
 public:
  Dialler(Services services, const Address& address) : services_(services), address_(address) {
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
    fd_ = socket(address_.bytes.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0) return again();
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&address_.bytes), address_.size) == 0)
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
  const Address address_;
  int fd_ = -1;
  milliseconds interval_{20};
  Loop::Timer timer_ = 0;
  std::unique_ptr<Connection> connection_;
};

}  // namespace

std::unique_ptr<Transport> dial_vsock(Services services, std::uint32_t cid, std::uint32_t port) {
  sockaddr_vm peer{};
  peer.svm_family = AF_VSOCK;
  peer.svm_cid = cid;
  peer.svm_port = port;
  Address address{.size = sizeof peer};
  std::memcpy(&address.bytes, &peer, sizeof peer);
  return std::make_unique<Dialler>(services, address);
}

std::unique_ptr<Transport> dial_unix(Services services, const std::string& path) {
  sockaddr_un peer{};
  if (path.empty() || path.size() >= sizeof peer.sun_path) return nullptr;
  peer.sun_family = AF_UNIX;
  std::memcpy(peer.sun_path, path.c_str(), path.size() + 1);
  Address address{.size = sizeof peer};
  std::memcpy(&address.bytes, &peer, sizeof peer);
  return std::make_unique<Dialler>(services, address);
}

}  // namespace attest::agent
