// The inside of a Machine: one coroutine per public call on the driver's loop, and the watch
// over the running guest. States are objects: a machine that is off has no Running.
#pragma once
#include "attest/backend.h"
#include "attest/error.h"
#include "attest/machine.h"
#include "lib/async/event.h"
#include "lib/async/within.h"
#include "lib/core/console.h"
#include "lib/core/fleet.h"
#include "lib/core/forward.h"
#include "lib/core/manifest_json.h"
#include "lib/core/running.h"
#include "lib/guest/guest.h"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace attest {
namespace core {
struct Spawned;
}

/// What a failed operation asks the guest for before it is reported.
enum class Evidence { none, units_and_journal };

struct Machine::Impl {
  template <class T>
  using Operation = std::function<Task<T>(guest::Guest&, Deadline)>;

  Impl(std::string name, MachineConfig config, core::Fleet& fleet);

  // ---- from the test's threads ----

  /// Runs `task` on the loop; an Error gets the machine's name and the place in the test.
  template <class T>
  T call(Task<T> task, Here here) {
    auto pass = fleet.calls->enter();
    try {
      return fleet.loop.run(std::move(task));
    } catch (Error& e) {
      throw of_this(e, here);
    }
  }
  /// Does one thing in the guest: `operation(guest, deadline)` returns a Task. The machine is
  /// started and ready then; its end ends the operation at once, with the cause.
  template <class F>
  auto in_guest(std::chrono::milliseconds limit, Evidence evidence, Here here, F operation) {
    using T = typename std::invoke_result_t<F&, guest::Guest&, Deadline>::value_type;
    fleet.polling->check(here);
    return call(with_guest<T>(Operation<T>(std::move(operation)), limit, evidence), here);
  }
  /// `error` with this machine's name and the place in the test.
  Error of_this(Error error, Here here) const {
    return std::move(error.during("using machine '" + name + "'").at(here));
  }
  std::chrono::milliseconds command_limit(std::optional<std::chrono::milliseconds> own) const {
    return own.value_or(timeouts.command);
  }
  std::chrono::milliseconds wait_limit(std::optional<std::chrono::milliseconds> own) const {
    return own.value_or(timeouts.wait);
  }
  /// Waits inside the guest for `condition`.
  void wait_for(guest::Condition condition, std::optional<std::chrono::milliseconds> limit,
                Here here);
  /// A regular expression out of the test. Throws Error{usage}.
  base::Pattern pattern(std::string_view regex, Here here) const;
  /// Waits until `ask` gives a text in which `look` finds what it wants, and returns that. `goal`
  /// and the last text go into the failure.
  using Ask = std::function<Task<std::string>(guest::Guest&, Deadline)>;
  using Look = std::function<std::optional<std::string>(const std::string&)>;
  std::string wait_until(std::string goal, Ask ask, Look look,
                         std::optional<std::chrono::milliseconds> limit, Here here);
  /// "it shares no directory with the host": why something is refused, with a hint.
  Error has_no(const std::string& what, const std::string& hint) const;

  // ---- on the loop ----

  /// Boots the machine unless it runs. A boot that failed fails again at once with its cause.
  Task<void> start();
  Task<void> shutdown();
  Task<void> crash();
  Task<void> reboot(std::optional<std::chrono::milliseconds> limit);
  Task<void> wait_for_shutdown(std::chrono::milliseconds limit);
  Task<std::string> console_text();
  Task<std::string> wait_for_console_text(base::Pattern pattern, std::chrono::milliseconds limit);
  Task<void> send_console(std::string text);
  Task<std::filesystem::path> shared_dir();
  /// Its card on `vlan`, or with 0 its first.
  Task<net::Nic> nic(int vlan);
  /// Plugs in or pulls the cable of one VLAN, or with 0 all; running or not.
  Task<void> plug(int vlan, bool plugged);
  Task<int> forward_port(int host_port, int guest_port);
  Task<void> snapshot_create(std::filesystem::path dir, SnapshotOptions options);
  Task<void> snapshot_restore(std::filesystem::path dir, RestoreOptions options);
  Task<void> resize(ResizeOptions options);
  /// Starts a command that outlives this call, `limit` from now at most.
  Task<std::shared_ptr<core::Spawned>> spawn(guest::Command command, std::string label,
                                             std::optional<std::chrono::milliseconds> limit);

  template <class T>
  Task<T> with_guest(Operation<T> operation, std::chrono::milliseconds limit, Evidence evidence) {
    auto run = co_await ready_guest();
    auto deadline = fleet.limit(limit);
    std::exception_ptr failure;
    try {
      if constexpr (std::is_void_v<T>) {
        co_await async::unless(core::Running::doom(run), operation(*run->guest, deadline));
        co_return;
      } else {
        co_return co_await async::unless(core::Running::doom(run),
                                         operation(*run->guest, deadline));
      }
    } catch (...) {
      failure = std::current_exception();
    }
    co_await explain(run, failure, evidence);
    throw Error(Error::Kind::protocol, "a failure had no explanation");  // explain() throws
  }
  /// A started guest that has reached the configured readiness and has its mounts.
  Task<std::shared_ptr<core::Running>> ready_guest();

  /// Ends the machine for good and waits until nothing of it is left on the loop; later starts
  /// are refused.
  Task<void> close();

  const std::string name;
  const MachineConfig config;
  const Timeouts timeouts;
  core::Fleet& fleet;
  std::atomic<bool> up = false;

 private:
  BackendContext context();
  /// Starts passt before the first boot of a machine with `internet`; it ends with the driver.
  Task<void> connect_uplink(std::shared_ptr<core::Running> run);
  /// What a machine is started from instead of a boot.
  struct From {
    std::filesystem::path dir;
    core::Manifest saved;
    bool keep_clock = false;
    std::optional<std::chrono::milliseconds> limit = {};  ///< default: timeouts.boot
  };
  /// start() with the lifecycle's lock held and the machine off.
  Task<void> launch(std::optional<From> from);
  Task<void> boot(std::shared_ptr<core::Running> run, std::optional<From> from);
  /// Greets the guest on `stream` and watches over it from then on.
  Task<void> meet(std::shared_ptr<core::Running> run, std::unique_ptr<Stream> stream,
                  Deadline deadline);
  /// The manifest of `dir`, whose files are whole and fit this machine.
  Task<From> look_at_snapshot(std::filesystem::path dir);
  /// What a manifest says of this machine without a look at the host's files.
  core::Manifest outline() const;
  Snapshotter& snapshotter();
  /// Makes the guest that goes on from a snapshot this machine: addresses, clock, random numbers.
  /// Says how long the steps took since the restore `began`.
  Task<void> settle(std::shared_ptr<core::Running> run, From from,
                    std::chrono::steady_clock::time_point began, Deadline deadline);
  Task<void> rename_guest(std::shared_ptr<core::Running> run, core::Manifest saved,
                          Deadline deadline);
  /// Waits until the guest has what a resize() has given it.
  Task<void> resized(std::shared_ptr<core::Running> run, ResizeOptions options, Deadline deadline);
  /// The machine goes on with other connections: `run` ends, and what is under way in it, with
  /// `cause`; another takes its place.
  Task<void> replace(std::shared_ptr<core::Running> run, std::unique_ptr<Stream> stream,
                     std::string cause, Deadline deadline);
  /// Notes when the backend's guest is gone; one for each boot, ends with it.
  Task<void> watch(std::shared_ptr<core::Running> run);
  void condemn(core::Running& run, Gone end);
  Task<void> pull_plug(std::string cause);
  /// Asks the guest to go down in order. False if it cannot be asked.
  Task<bool> ask_down(std::shared_ptr<core::Running> run, guest::Power wish, Deadline deadline);
  /// Ends this boot in order, by the guest or by the backend.
  Task<void> go_down(std::shared_ptr<core::Running> run, Deadline deadline);
  /// Waits until the guest has greeted again on its stream; false if its process ended instead.
  Task<bool> restarted(std::shared_ptr<core::Running> run, Deadline deadline);
  Task<void> ready_again();
  /// Lets the booted backend know which cables are unplugged, or those of `which` as they are.
  Task<void> tell_unplugged(std::shared_ptr<core::Running> run, Deadline deadline);
  Task<void> tell_links(std::shared_ptr<core::Running> run, std::vector<int> which,
                        Deadline deadline);
  /// The way of a forwarded connection to `port`.
  Task<std::unique_ptr<core::FarEnd>> reach(int port);
  Task<void> end_forwards();
  /// The config's mounts: shared where the backend can, else copied in.
  Task<void> make_mounts(std::shared_ptr<core::Running> run, Deadline deadline);
  /// False where the backend cannot share it.
  Task<bool> share(core::Running& run, MountConfig mount, Deadline deadline);
  /// The stream often ends a moment before the process that held it is reaped: waits that moment.
  Task<void> look_for_cause(std::shared_ptr<core::Running> run);
  void attach_console(Error& error);
  /// Rethrows `failure` with what can be said about it; never returns normally.
  Task<void> explain(std::shared_ptr<core::Running> run, std::exception_ptr failure,
                     Evidence evidence);

  core::Console console_;
  std::unique_ptr<Backend> backend_;
  std::shared_ptr<core::Running> running_;
  std::shared_ptr<core::Running> starting_;  ///< while start() is at it; for crash()
  /// False once nobody takes console text any more; shared with what the backend holds.
  std::shared_ptr<bool> listening_ = std::make_shared<bool>(true);
  async::Mutex lifecycle_;
  std::vector<std::weak_ptr<core::Spawned>> spawned_;  ///< commands that outlived their call
  std::vector<std::unique_ptr<core::Forward>> forwards_;
  std::set<int> unplugged_;  ///< VLANs; over boots
  async::Mutex links_;       ///< one change of those at a time
  std::optional<Error> boot_failure_;
  bool rebooting_ = false;  ///< the next start is a cold one, also with a snapshot_path
  bool ended_ = false;      ///< close() was called
};

}  // namespace attest
