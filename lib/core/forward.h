// A forwarded port: takes the connections that come to a socket of the host and joins each to
// wherever a function leads it. Knows no machines; machine_network.cc gives it the way to one.
#pragma once
#include "attest/backend.h"
#include "lib/async/net.h"

#include <functional>
#include <memory>
#include <string>

namespace attest::core {

/// The other side of one connection. One read and one write at a time.
class FarEnd {
 public:
  virtual ~FarEnd() = default;
  /// At least one byte, at most 64 KiB or so; "" at the end. Throws Error where the machine refused
  /// the connection, or is gone.
  virtual Task<std::string> read() = 0;
  /// Returns when there is room for more.
  virtual Task<void> write(std::string bytes) = 0;
  /// Nothing more will be written; it can still be read.
  virtual Task<void> end_writing() = 0;
};

/// Loop thread only.
class Forward {
 public:
  /// Leads one connection to the machine; throws Error if it refuses.
  using Connect = std::function<Task<std::unique_ptr<FarEnd>>()>;

  /// `say` gets a line when a connection is refused, the first time. What the functions use must
  /// live until close() has returned.
  Forward(asio::any_io_executor loop, Outside::Listener listener, Connect connect,
          std::function<void(const std::string&)> say);
  Forward(const Forward&) = delete;
  Forward& operator=(const Forward&) = delete;

  /// Ends the listener and all connections; nothing of them is left on the loop then.
  Task<void> close();

  struct State;

 private:
  std::shared_ptr<State> state_;  // shared with the coroutines that serve the connections
};

}  // namespace attest::core
