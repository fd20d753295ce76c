// A peer of a switch as QEMU is one, for tests: blocking, on the test's own thread.
#pragma once
#include "lib/async/loop.h"
#include "lib/base/fd.h"
#include "lib/base/sys_error.h"
#include "lib/net/switching/frames.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace attest::net {

/// Runs `function` on the loop thread and returns its result.
template <class Function>
auto on_loop(async::Loop& loop, Function function) {
  auto task = [](Function f) -> Task<decltype(f())> { co_return f(); };
  return loop.run(task(std::move(function)));
}

/// An Ethernet frame from and to stations of one byte; 0xff is broadcast. `tag` is an 802.1Q VLAN.
inline std::string frame(int to, int from, std::string_view payload, int tag = 0) {
  auto mac = [](int station) {
    return station == 0xff ? std::string(6, '\xff')
                           : std::string("\x52\x54\0\0\0", 5) + static_cast<char>(station);
  };
  std::string type = "\x08";
  type += '\0';
  if (tag) type = std::string("\x81\0\0", 3) + static_cast<char>(tag) + type;
  return mac(to) + mac(from) + type + std::string(payload);
}

class Peer {
 public:
  explicit Peer(base::Fd socket) : socket_(std::move(socket)) {}

  /// Sends bytes as they are. The switch always reads, so that this cannot block for long.
  void send_raw(std::string_view bytes) {
    while (!bytes.empty()) {
      auto count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count < 0) throw base::sys_error("sending to the switch");
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  void send(std::string_view frame) { send_raw(encode_frame(frame)); }

  /// The next frame; nullopt at the end of the connection. Throws if nothing comes at all.
  std::optional<std::string> receive() {
    for (;;) {
      if (pending_.size() >= length_bytes) {
        auto whole = length_bytes + read_length(pending_);
        if (pending_.size() >= whole) {
          auto result = pending_.substr(length_bytes, whole - length_bytes);
          pending_.erase(0, whole);
          return result;
        }
      }
      char buffer[4096];
      pollfd ready{.fd = socket_.get(), .events = POLLIN, .revents = 0};
      if (::poll(&ready, 1, 30'000) == 0)
        throw Error(Error::Kind::timeout, "the switch sent nothing for 30 s");
      auto count = ::recv(socket_.get(), buffer, sizeof buffer, 0);
      if (count < 0 && errno != ECONNRESET) throw base::sys_error("receiving from the switch");
      if (count <= 0) return std::nullopt;
      pending_.append(buffer, static_cast<std::size_t>(count));
    }
  }
  /// Bytes of an unfinished frame; empty if the switch has sent whole frames only.
  const std::string& unfinished() const { return pending_; }
  void close() { socket_.reset(); }

 private:
  base::Fd socket_;
  std::string pending_;
};

}  // namespace attest::net
