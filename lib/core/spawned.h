// A command that runs while the test goes on, as the loop sees it: read all the time into a bounded
// store, from which the handle's calls take.
#pragma once
#include "attest/error.h"
#include "lib/async/event.h"
#include "lib/core/running.h"
#include "lib/guest/guest.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace attest::core {

/// Shared by the handle and by the coroutine that reads; loop thread only, except `running`.
struct Spawned {
  /// What coroutines wait for. Each holds them while it does; pump() lets go of them at its end, so
  /// that a handle which outlives the driver holds nothing of its loop.
  struct Signals {
    explicit Signals(asio::any_io_executor loop) : changed(loop), dropped(loop), ended(loop) {}
    async::Event changed;  ///< pulsed when there is more, or room for more
    async::Event dropped;  ///< the handle is gone
    async::Event ended;    ///< nothing more comes
  };

  Spawned(asio::any_io_executor loop, std::string machine_, std::string label_)
      : signals(std::make_shared<Signals>(loop)),
        machine(std::move(machine_)),
        label(std::move(label_)) {}

  /// The next line of stdout without its end; nullopt at the end. Throws Error{timeout}.
  Task<std::optional<std::string>> read_line(Deadline deadline);
  /// Waits for the end and takes what is left. Throws Error{timeout}.
  Task<CommandResult> wait(Deadline deadline);
  Task<void> write(std::string bytes);
  Task<void> close_input();
  Task<void> signal(int number);
  /// Ends the command, or (after guest::Process::detach()) lets go of it.
  Task<void> drop(bool detach);

  /// Returns when nothing more comes.
  static Task<void> wait_ended(std::shared_ptr<Signals> signals);

  void take(guest::Process::Chunk chunk);
  void pulse();
  bool full() const;
  /// stdout that nobody has taken yet; takes all of it.
  std::string take_rest();

  std::shared_ptr<Signals> signals;  ///< null once nothing more comes
  const std::string machine, label;
  const std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  // A guest's process ends before the guest does.
  std::shared_ptr<Running> run;
  std::shared_ptr<guest::Process> process;  ///< null once it has ended
  std::string output, error_output;
  std::size_t taken = 0;  ///< so much of `output` was read by lines
  int waiting = 0;        ///< calls of wait(): read on, whether somebody takes it or not
  int exit_code = 0;
  std::chrono::milliseconds duration{0};
  std::optional<Error> failure;
  bool detached = false;
  std::atomic<bool> running = true;
};

/// Reads until the command, its machine, its handle or its time ends; started by spawn().
Task<void> pump(std::shared_ptr<Spawned> spawned, Deadline limit);

}  // namespace attest::core
