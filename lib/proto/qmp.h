// A QMP session: commands with their replies, events in order. Made from a connected Stream (a
// socket pair whose other end QEMU has inherited, or an accepted connection); lib/proto/qmp_codec.h
// knows the bytes. Loop thread only.
#pragma once
#include "lib/async/net.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace attest::proto {

/// Something that QEMU has told unasked.
struct QmpEvent {
  std::string name;  ///< "SHUTDOWN"
  std::string data;  ///< a JSON object as text
};

/// One QMP session. Destroying it closes the connection; calls under way then fail.
class Qmp {
 public:
  Qmp(asio::any_io_executor loop, std::unique_ptr<Stream> stream);
  Qmp(const Qmp&) = delete;
  Qmp& operator=(const Qmp&) = delete;
  ~Qmp();

  /// Waits for QEMU's greeting and enters command mode; the first call. Throws Error{timeout,
  /// protocol}, Error{host} if the connection ends. Commands and events work afterwards.
  Task<void> negotiate(Deadline deadline);
  /// QEMU's version from the greeting: "7.2.22"; "" before it.
  const std::string& version() const;

  /// Sends a command and returns its value as JSON text ("{}" for most). `arguments` is a JSON
  /// object as text, or "". Several may be under way. Throws Error{host} quoting QEMU's refusal or
  /// when the connection has ended, Error{timeout}.
  Task<std::string> execute(std::string command, std::string arguments, Deadline deadline);

  /// Takes the oldest queued event, waiting for one if there is none. nullopt when the connection
  /// has ended and all events are taken. Throws Error{timeout}.
  Task<std::optional<QmpEvent>> next_event(Deadline deadline);
  /// Events that were dropped, oldest first, because more than 1024 were queued.
  std::uint64_t dropped_events() const;

  /// Ends the session; calls under way fail. Idempotent.
  void close() noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the coroutine that reads
};

}  // namespace attest::proto
