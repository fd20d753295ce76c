// One boot of a machine, from its process's start to its end.
#pragma once
#include "attest/backend.h"
#include "attest/error.h"
#include "lib/async/event.h"
#include "lib/guest/guest.h"

#include <memory>
#include <string>

namespace attest::core {

/// Shared by all that use this boot. Loop thread only.
struct Running {
  Running(asio::any_io_executor loop, std::string machine_)
      : machine(std::move(machine_)), doomed(loop), replaced(loop), watched(loop), readying(loop) {}

  /// That it is gone, and why; once doomed.
  Error obituary() const {
    if (replaced.is_set())
      return Error(Error::Kind::guest, end.cause + " of machine '" + machine + "'")
          .hint("what was under way ended by it; the machine itself goes on");
    return Error(Error::Kind::guest, "machine '" + machine + "' is gone: " + end.cause);
  }
  /// Ends by throwing the obituary, when it is time. `run` is kept.
  static Task<void> doom(std::shared_ptr<Running> run) {
    co_await run->doomed.wait();
    throw run->obituary();
  }

  /// Ends by throwing, when another has taken its place. `run` is kept.
  static Task<void> succession(std::shared_ptr<Running> run) {
    co_await run->replaced.wait();
    throw run->obituary();
  }

  const std::string machine;  ///< its name
  async::Event doomed;        ///< set when nothing can be expected of this boot any more
  Gone end;                   ///< why, once doomed
  /// The machine goes on, with other connections: another Running has taken its place.
  async::Event replaced;
  async::Event watched;                 ///< the watch over the backend has ended
  bool watching = false;                ///< it has begun
  std::unique_ptr<guest::Guest> guest;  ///< after its greeting
  bool linked = false;                  ///< the backend knows which cables are unplugged
  async::Mutex readying;
  bool was_ready = false;  ///< saved when all that config.ready asks for had come
  bool ready = false;
  bool shared = false;  ///< /tmp/shared is mounted
};

}  // namespace attest::core
