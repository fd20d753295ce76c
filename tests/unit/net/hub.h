// A hub for tests of ports: what one port receives, all others send. It has no part of a Switch but
// what that does with the interface of ports.
#pragma once
#include "lib/async/loop.h"
#include "lib/base/fd.h"
#include "lib/base/sys_error.h"
#include "lib/net/switching/datagram_port.h"
#include "tests/unit/net/peer.h"

#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace attest::net {

class Hub {
 public:
  explicit Hub(async::Loop& loop) : loop_(loop), state_(std::make_shared<State>()) {}
  ~Hub() {
    on_loop(loop_, [&] {
      for (auto& port : state_->ports) port->close();
      state_->ports.clear();
      return 0;
    });
  }

  /// Joins; the number, from 0, of the port. Loop thread or not.
  std::size_t join(std::shared_ptr<Port> port) {
    if (!loop_.on_this_thread()) return on_loop(loop_, [&] { return join(port); });
    state_->ports.push_back(port);
    asio::co_spawn(loop_.executor(), serve(state_, port), [](std::exception_ptr failure) {
      if (failure) std::rethrow_exception(failure);
    });
    return state_->ports.size() - 1;
  }
  std::size_t join(base::Fd socket) {
    return join(
        on_loop(loop_, [&] { return make_datagram_port(loop_.executor(), std::move(socket)); }));
  }
  std::size_t joined() {
    return on_loop(loop_, [&] { return state_->ports.size(); });
  }
  PortStats sent(std::size_t number) {
    return on_loop(loop_, [&] { return state_->ports.at(number)->sent(); });
  }
  /// How many ports have come to their end.
  int ended() {
    return on_loop(loop_, [&] { return state_->ended; });
  }
  void close(std::size_t number) {
    on_loop(loop_, [&] {
      state_->ports.at(number)->close();
      return 0;
    });
  }

 private:
  struct State {
    std::vector<std::shared_ptr<Port>> ports;
    std::vector<char> buffer = std::vector<char>(256 << 10);
    int ended = 0;
  };

  static Task<void> serve(std::shared_ptr<State> state, std::shared_ptr<Port> port) {
    std::vector<std::string_view> framed;
    for (;;) {
      framed.clear();
      auto received = port->receive(state->buffer, framed);
      if (received == Port::Received::nothing_yet) {
        co_await port->readable();
        continue;
      }
      if (received != Port::Received::frames) break;
      for (auto& other : state->ports) {
        if (other == port) continue;
        for (auto frame : framed) other->add(frame);
        other->flush();
      }
    }
    ++state->ended;
    port->close();
  }

  async::Loop& loop_;
  std::shared_ptr<State> state_;
};

/// The other end of a unix datagram socket, on the test's own thread.
class Wire {
 public:
  /// {the wire, what a port is made on}
  static std::pair<Wire, base::Fd> make() {
    int ends[2];
    base::check(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), "socketpair");
    return {Wire(base::Fd(ends[0])), base::Fd(ends[1])};
  }
  explicit Wire(base::Fd socket) : socket_(std::move(socket)) {}

  void send(std::string_view frame) const {
    base::check(static_cast<int>(::send(socket_.get(), frame.data(), frame.size(), MSG_NOSIGNAL)),
                "sending a frame");
  }
  /// The next frame. Throws if none comes.
  std::string receive() const {
    auto got = receive_within(30'000);
    if (!got) throw Error(Error::Kind::timeout, "nothing came for 30 s");
    return *got;
  }
  std::optional<std::string> receive_within(int milliseconds) const {
    pollfd ready{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, milliseconds) <= 0) return std::nullopt;
    std::string frame(70'000, '\0');
    auto count = ::recv(socket_.get(), frame.data(), frame.size(), MSG_DONTWAIT);
    base::check(static_cast<int>(count), "receiving a frame");
    frame.resize(static_cast<std::size_t>(count));
    return frame;
  }
  void close() { socket_.reset(); }

 private:
  base::Fd socket_;
};

/// Waits until `condition` holds, half a minute at most; what it is then.
inline bool eventually(const std::function<bool()>& condition) {
  for (int attempt = 0; attempt < 3000; ++attempt) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return condition();
}

}  // namespace attest::net
