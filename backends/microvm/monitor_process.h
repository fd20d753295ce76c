// A running monitor: its process, its console, its own output, and how it ended. Shared between the
// backend and the coroutines that serve it; a second boot makes another one.
#pragma once
#include "attest/backend.h"
#include "lib/async/child.h"
#include "lib/async/event.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace attest::microvm {

/// What was seen of a monitor that is no more.
struct Ending {
  std::string monitor;  ///< "Firecracker"
  async::ExitStatus status;
  std::string code_words;  ///< what the monitor's exit code means, "" if nothing special
  std::string fatal_line;  ///< of the console: a kernel panic, our initrd's last words
  bool halted = false;     ///< the console said that the guest has halted or powered down
  bool rebooted = false;   ///< the console said that it restarts
  std::string said;        ///< the end of its output and its log
  std::string told;        ///< why we have ended it ourselves, "" if we have not
};
/// The last lines of a monitor's output, safe for a terminal. Pure.
std::string last_words(std::string_view said, std::size_t lines);
/// "the guest powered off", "Firecracker exited with code 148 (a seccomp violation): ...". Pure.
Gone explain(const Ending& ending);

/// Reads a console: lines that tell the guest's fate. Keeps one unfinished line, bounded.
class ConsoleWatch {
 public:
  void feed(std::string_view bytes);
  const std::string& fatal() const { return fatal_; }  ///< the first such line, or ""
  bool halted() const { return halted_; }      ///< "reboot: System halted", "reboot: Power down"
  bool rebooted() const { return rebooted_; }  ///< "reboot: Restarting system", "machine restart"
  void clear() { *this = {}; }                 ///< another boot begins

 private:
  void look();

  std::string line_, fatal_;
  bool halted_ = false, rebooted_ = false;
};

/// How to start one.
struct MonitorSpec {
  std::string monitor;             ///< its name in messages
  async::ChildSpec child;          ///< stdout and stderr are added here
  bool stdout_is_console = false;  ///< else stdout is kept with stderr, for messages
  std::filesystem::path log;       ///< a file whose end is quoted in failures; empty: none
  /// What an exit code means; "" for nothing special.
  std::function<std::string(int code)> code_words = {};
};

/// All calls happen on the loop thread.
class MonitorProcess : public std::enable_shared_from_this<MonitorProcess> {
 public:
  using Console = std::function<void(std::string_view)>;

  /// Throws Error{host}.
  static std::shared_ptr<MonitorProcess> start(asio::any_io_executor loop, MonitorSpec spec,
                                               Console console);
  MonitorProcess(asio::any_io_executor loop, MonitorSpec spec, Console console);

  /// Reads console bytes from `source` (a FIFO's reading end, a connected socket) until its end.
  /// Which is written to by nobody yet is at its end: call it when the monitor has opened it.
  void add_console(base::Fd source);
  /// A connected console socket that can also be typed into.
  void add_console(std::shared_ptr<Stream> source);

  bool alive() const { return child_.running(); }
  int pid() const { return child_.pid(); }
  /// SIGKILL, and reaped when it returns.
  void kill() noexcept { child_.kill(); }
  /// Kills it, and hands no more console bytes on: their receiver goes away.
  void abandon() noexcept;
  /// Kills it because of what the guest has done, which is its end in order if `orderly`:
  /// end_with("the guest powered off", true).
  void end_with(std::string cause, bool orderly) noexcept;

  /// Returns when the process is reaped and everything it has said is read.
  Task<Gone> wait_gone();
  bool is_gone() const { return gone_.is_set(); }
  /// Never returns: throws Error{host} with the cause when it is gone. For async::unless.
  Task<void> dies();
  /// Returns once its console has said that the guest is halted: with monitors that stay then.
  Task<void> guest_halted();
  /// What the console has told so far.
  ConsoleWatch& watch() { return watch_; }
  /// The end of its own output and log, for messages.
  std::string said() const;

 private:
  static Task<void> pump_console(std::shared_ptr<MonitorProcess> self,
                                 std::shared_ptr<Stream> source);
  static Task<void> pump_output(std::shared_ptr<MonitorProcess> self,
                                std::shared_ptr<Stream> source);
  static Task<void> supervise(std::shared_ptr<MonitorProcess> self);
  void spawn_pump(Task<void> pump);

  asio::any_io_executor loop_;
  MonitorSpec spec_;
  Console console_;
  std::shared_ptr<Stream> stdout_, stderr_;
  async::Event drained_, gone_, halted_;
  int pumps_ = 0;
  ConsoleWatch watch_;
  std::string output_;
  std::optional<Gone> told_;
  Gone result_;
  async::Child child_;  // last: dies first
};

/// Runs `op`, the start of `process`; if it fails, kills the process, and if that had died by
/// itself throws Error{host} with its cause instead, which says more.
Task<void> starting(std::shared_ptr<MonitorProcess> process, Task<void> op);

}  // namespace attest::microvm
