// The inside of a Machine: one coroutine per public call on the driver's loop, and the watch
// over the running guest. States are objects: a machine that is off has no Running.
#pragma once
#include "attest/backend.h"
#include "attest/error.h"
#include "attest/machine.h"
#include "lib/async/event.h"
#include "lib/async/within.h"
#include "lib/core/fleet.h"
#include "lib/guest/guest.h"
#include "lib/report/console_log.h"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace attest {
namespace core {

/// One boot of a machine, from its process's start to its end.
struct Running {
  explicit Running(asio::any_io_executor loop) : doomed(loop), watched(loop), readying(loop) {}

  async::Event doomed;                  ///< set when nothing can be expected of this boot any more
  Gone end;                             ///< why, once doomed
  async::Event watched;                 ///< the watch over the backend has ended
  bool watching = false;                ///< it has begun
  std::unique_ptr<guest::Guest> guest;  ///< after its greeting
  async::Mutex readying;
  bool ready = false;
};

}  // namespace core

struct Machine::Impl {
  template <class T>
  using Operation = std::function<Task<T>(guest::Guest&, Deadline)>;

  /// What a failed operation asks the guest for before it is reported.
  enum class Evidence { none, units_and_journal };

  Impl(std::string name, MachineConfig config, core::Fleet& fleet);

  // ---- from the test's threads ----

  /// Runs `task` on the loop; an Error gets the machine's name and the place in the test.
  template <class T>
  T call(Task<T> task, Here here) {
    auto pass = fleet.calls.enter();
    try {
      return fleet.loop.run(std::move(task));
    } catch (Error& e) {
      e.during("using machine '" + name + "'").at(here);
      throw;
    }
  }

  // ---- on the loop ----

  /// Boots the machine unless it runs. A boot that failed fails again at once with its cause.
  Task<void> start();
  Task<void> shutdown();
  Task<void> crash();
  Task<void> wait_for_shutdown(std::chrono::milliseconds limit);
  Task<std::string> console_text();

  /// Runs `operation` on the guest, started and ready, until `limit`; the end of the machine ends
  /// it at once, with the cause.
  template <class T>
  Task<T> with_guest(Operation<T> operation, std::chrono::milliseconds limit, Evidence evidence) {
    auto run = co_await ready_guest();
    auto deadline = fleet.limit(limit);
    std::exception_ptr failure;
    try {
      if constexpr (std::is_void_v<T>) {
        co_await async::unless(doom(run), operation(*run->guest, deadline));
        co_return;
      } else {
        co_return co_await async::unless(doom(run), operation(*run->guest, deadline));
      }
    } catch (...) {
      failure = std::current_exception();
    }
    co_await explain(run, failure, evidence);
    throw Error(Error::Kind::protocol, "a failure had no explanation");  // explain() throws
  }

  /// Ends the machine for good and waits until nothing of it is left on the loop; later starts
  /// are refused.
  Task<void> close();

  const std::string name;
  const MachineConfig config;
  core::Fleet& fleet;
  std::atomic<bool> up = false;

 private:
  BackendContext context();
  /// A started guest that has reached the configured readiness.
  Task<std::shared_ptr<core::Running>> ready_guest();
  Task<void> boot(std::shared_ptr<core::Running> run);
  /// Notes when the backend's guest is gone; one for each boot, ends with it.
  Task<void> watch(std::shared_ptr<core::Running> run);
  void condemn(core::Running& run, Gone end);
  Task<void> pull_plug(std::string cause);
  /// Ends by throwing how `run` ended, when it does.
  Task<void> doom(std::shared_ptr<core::Running> run);
  Error obituary(const core::Running& run);
  /// The stream often ends a moment before the process that held it is reaped: waits that moment.
  Task<void> look_for_cause(std::shared_ptr<core::Running> run);
  void attach_console(Error& error);
  /// Rethrows `failure` with what can be said about it; never returns normally.
  Task<void> explain(std::shared_ptr<core::Running> run, std::exception_ptr failure,
                     Evidence evidence);

  report::ConsoleLog console_;
  std::unique_ptr<Backend> backend_;
  std::shared_ptr<core::Running> running_;
  std::shared_ptr<core::Running> starting_;  ///< while start() is at it; for crash()
  /// False once nobody takes console text any more; shared with what the backend holds.
  std::shared_ptr<bool> listening_ = std::make_shared<bool>(true);
  async::Mutex lifecycle_;
  std::optional<Error> boot_failure_;
  bool ended_ = false;  ///< close() was called
};

}  // namespace attest
