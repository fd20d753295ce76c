// One machine under test, seen from the test body.
#pragma once
#include "attest/command.h"

#include <chrono>
#include <initializer_list>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace attest {

/// A handle on one machine. Every call blocks until it is done, starts the machine if it is
/// not running, and is safe from several threads; commands from several threads run at the
/// same time. Failures are Errors: kind guest when the machine misbehaved or died (with the
/// console's last lines), timeout when a limit passed, usage when the call itself is wrong.
/// A reference stays valid until the driver ends.
class Machine {
 public:
  using Here = std::source_location;
  struct Impl;  // lib/core/machine_impl.h

  explicit Machine(std::unique_ptr<Impl> impl);
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine();

  /// Its name in the config, which is also its host name.
  const std::string& name() const noexcept;

  // ---- lifecycle ----------------------------------------------------------------------

  /// Boots the machine and returns at the guest's greeting; nothing to do if it runs. Limit:
  /// timeouts.boot. Throws Error{host, guest, timeout} with the console's last lines.
  void start(Here here = Here::current());
  /// Powers the machine off in order and waits until it is gone; nothing to do if it is off.
  /// Limit: timeouts.shutdown, then it is killed and Error{timeout} says so.
  void shutdown(Here here = Here::current());
  /// Pulls the plug. Nothing in the guest is told.
  void crash(Here here = Here::current());
  /// Waits until the machine has gone down by itself. Throws Error{timeout}; Error{guest} if it
  /// crashed instead of powering off.
  void wait_for_shutdown(WaitOptions options = {}, Here here = Here::current());
  /// True between a start() and the end of the machine, however that came.
  bool is_up() const;

  // ---- commands -----------------------------------------------------------------------

  /// Runs `command` as root: `bash` with `set -euo pipefail`, HOME=/root, cwd /tmp, the
  /// environment of /etc/profile, stdin /dev/null, a process group of its own, no state from
  /// the command before. A common indentation is removed, so raw strings read well. Any exit
  /// code is a result. Past its limit (timeouts.command) its process group is ended and
  /// Error{timeout} carries the output so far.
  ///     auto [code, out, err, took] = web.execute("systemctl is-active nginx");
  CommandResult execute(std::string_view command, CommandOptions options = {},
                        Here here = Here::current());
  /// Runs a program directly, without a shell: run({"printf", "%s", "$HOME"}).
  CommandResult run(std::vector<std::string> argv, CommandOptions options = {},
                    Here here = Here::current());
  /// Like execute(), but a non-zero exit code is an Error{guest} with both outputs. Returns stdout.
  std::string succeed(std::string_view command, CommandOptions options = {},
                      Here here = Here::current());
  /// Several commands in order; returns their stdouts joined.
  std::string succeed(std::initializer_list<std::string_view> commands, CommandOptions options = {},
                      Here here = Here::current());
  /// Like execute(), but exit code 0 is an Error{guest}. Returns stdout.
  std::string fail(std::string_view command, CommandOptions options = {},
                   Here here = Here::current());
  std::string fail(std::initializer_list<std::string_view> commands, CommandOptions options = {},
                   Here here = Here::current());
  /// Lets `span` pass in the guest's time.
  void sleep(std::chrono::milliseconds span, Here here = Here::current());

  // ---- waits --------------------------------------------------------------------------
  // All poll inside the guest in short, growing steps (5 ms to 500 ms), end at once with the
  // cause when the machine dies, and on failure say what was waited for, for how long and the
  // last state seen, with the failed units and the journal's last 30 lines attached.

  /// Repeats `command` until it exits with 0 and returns that run's stdout.
  std::string wait_until_succeeds(std::string_view command, WaitOptions options = {},
                                  Here here = Here::current());
  /// Repeats `command` until it exits with anything else; returns that run's stdout.
  std::string wait_until_fails(std::string_view command, WaitOptions options = {},
                               Here here = Here::current());
  /// Waits until a systemd unit is active. A failed unit, and an inactive one without a pending
  /// job, end the wait at once with Error{guest}.
  void wait_for_unit(std::string_view unit, UnitOptions options = {}, Here here = Here::current());
  /// Waits until something accepts TCP connections on `port`.
  ///     web.wait_for_open_port(80, {.address = "10.0.0.1", .timeout = 30s});
  void wait_for_open_port(int port, PortOptions options = {}, Here here = Here::current());

  // ---- console ------------------------------------------------------------------------

  /// The serial console's text so far, of this boot and those before; the newest MiB of it.
  std::string get_console_log() const;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace attest
