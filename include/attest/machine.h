// One machine under test, seen from the test body.
#pragma once
#include "attest/command.h"
#include "attest/process.h"
#include "attest/screenshot.h"

#include <chrono>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace attest {

/// A handle on one machine. Every call blocks until it is done, starts the machine if it is
/// not running, and is safe from several threads; commands from several threads run at the
/// same time. Failures are Errors: kind guest when the machine misbehaved or died (with the
/// console's last lines), timeout when a limit passed, usage when the call itself is wrong,
/// unsupported where this backend or guest has nothing of the kind.
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
  /// Asks the guest to power off in order and waits until it is gone; nothing to do if it is off.
  /// Limit: timeouts.shutdown, then it is killed and Error{timeout} says so.
  void shutdown(Here here = Here::current());
  /// Pulls the plug. Nothing in the guest is told.
  void crash(Here here = Here::current());
  /// Asks the guest to reboot in order and returns when it is ready again. With the config's
  /// allow_reboot the same process goes on; else it ends and the machine is booted anew, with
  /// `disks` as they were left. Limit: timeouts.shutdown + timeouts.boot.
  void reboot(WaitOptions options = {}, Here here = Here::current());
  /// Waits until the machine has gone down by itself. Throws Error{timeout}; Error{guest} if it
  /// crashed instead of powering off.
  void wait_for_shutdown(WaitOptions options = {}, Here here = Here::current());
  /// True between a start() and the end of the machine, however that came.
  bool is_up() const;

  // ---- snapshots ----------------------------------------------------------------------
  // On backends that have them (docs/backends.md), else Error{unsupported}. docs/snapshots.md tells
  // what a snapshot consists of, and what a clone has of its own.

  /// Saves the machine (memory, devices, its disks, all at one moment) as the directory `dir`,
  /// which appears when it is complete and must not be there, or be empty. The machine stands still
  /// meanwhile and goes on then; commands and waits that were under way fail with "connection lost
  /// at snapshot" where its connections do not survive this, processes in it go on. Throws
  /// Error{usage} for such a directory, Error{host} (as for a full disk) with nothing left there.
  void snapshot_create(const std::filesystem::path& dir, SnapshotOptions options = {},
                       Here here = Here::current());
  /// Makes the machine what was saved in `dir`, by itself or by another machine of a config like
  /// its own: then it keeps its own name and addresses. It need not run; if it does, it is ended,
  /// and what was under way fails with "connection lost at restore". The clock is set to now and
  /// the kernel's random numbers begin anew. Any number of machines and tests may restore from
  /// `dir` at the same time, which stays as it is. Throws Error{usage} with each difference if this
  /// host or machine does not fit what was saved, or files are missing or damaged; the machine is
  /// as it was then.
  void snapshot_restore(const std::filesystem::path& dir, RestoreOptions options = {},
                        Here here = Here::current());
  /// Gives the running machine more or less processors and memory, up to what its config allows
  /// (Cloud Hypervisor: max_vcpus, max_memory_mb), and returns when the guest has them:
  ///     machine.resize({.vcpus = 2, .memory_mb = 1024});
  void resize(ResizeOptions options, Here here = Here::current());

  // ---- commands -----------------------------------------------------------------------

  /// Runs `command` as root: `bash` with `set -euo pipefail`, HOME=/root, cwd /tmp, the
  /// environment of /etc/profile, stdin /dev/null, a process group of its own, no state from
  /// the command before. A common indentation is removed, so raw strings read well. Any exit
  /// code is a result. Past its limit (timeouts.command) its process group is ended and
  /// Error{timeout} carries the output so far.
  ///     auto [code, out, err, took] = web.execute("systemctl is-active nginx");
  CommandResult execute(std::string_view command, CommandOptions options = {},
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
  /// Runs a program directly, without a shell: run({"printf", "%s", "$HOME"}).
  template <class = void>  // g++ 12 takes {.argv = ...} for a vector, too; so run(Command) wins
  CommandResult run(std::vector<std::string> argv, CommandOptions options = {},
                    Here here = Here::current());
  /// Runs one command with everything about it: run({.argv = {"id"}, .user = "alice"}).
  CommandResult run(Command command, Here here = Here::current());
  /// Starts a command and returns while it runs; see Process. Without a timeout of its own it has
  /// no limit; past one it is ended, and the handle's calls throw Error{timeout}.
  ///     auto server = web.spawn({.argv = {"python3", "-m", "http.server"}, .cwd = "/srv"});
  Process spawn(Command command, Here here = Here::current());
  /// Lets `span` pass in the guest's time.
  void sleep(std::chrono::milliseconds span, Here here = Here::current());

  // ---- waits --------------------------------------------------------------------------
  // All end at once with the cause when the machine dies, and on failure say what was waited for,
  // for how long and the last state seen, with the failed units and the journal's last 30 lines
  // attached. Limit: timeouts.wait. A limit of zero or less looks once; any larger one is obeyed by
  // the host's monotonic clock, whatever the guest's clock does.

  /// Repeats `command` until it exits with 0 and returns that run's stdout.
  ///     web.wait_until_succeeds("curl -sf localhost", {.timeout = 30s, .interval = 100ms});
  std::string wait_until_succeeds(std::string_view command, RepeatOptions options = {},
                                  Here here = Here::current());
  /// Repeats `command` until it exits with anything else; returns that run's stdout.
  std::string wait_until_fails(std::string_view command, RepeatOptions options = {},
                               Here here = Here::current());
  /// Waits until a systemd unit is active. A failed unit, and an inactive one without a pending
  /// job, end the wait at once with Error{guest}.
  void wait_for_unit(std::string_view unit, UnitOptions options = {}, Here here = Here::current());
  /// Waits until something accepts TCP connections on `port` (for UDP: until a socket of the
  /// machine is bound to it).
  ///     web.wait_for_open_port(80, {.address = "10.0.0.1", .timeout = 30s});
  void wait_for_open_port(int port, PortOptions options = {}, Here here = Here::current());
  /// Waits until nothing accepts connections there any more.
  void wait_for_closed_port(int port, PortOptions options = {}, Here here = Here::current());
  /// Waits until `path` exists, whatever it is; * and ? may stand in its last part.
  void wait_for_file(std::string_view path, WaitOptions options = {}, Here here = Here::current());
  /// Waits until a unix socket at `path` accepts connections.
  void wait_for_open_unix_socket(std::string_view path, SocketOptions options = {},
                                 Here here = Here::current());
  /// Waits until a line of the console matches `regex` anywhere in it, and returns that line. Lines
  /// from before the call count, of this and earlier boots, as far as get_console_log() remembers
  /// them; so does a prompt without a line end. Lines longer than 4 KiB are matched in pieces.
  /// `regex` is of RE2 (as Python's, without back-references and look-around): linear time, always.
  std::string wait_for_console_text(std::string_view regex, WaitOptions options = {},
                                    Here here = Here::current());
  /// Waits until the text on virtual terminal `tty` matches `regex`; returns that text.
  std::string wait_until_tty_matches(int tty, std::string_view regex, WaitOptions options = {},
                                     Here here = Here::current());
  /// Waits until the X server of display :0 accepts connections and, on NixOS, the graphical
  /// session has begun.
  void wait_for_x(WaitOptions options = {}, Here here = Here::current());
  /// Waits until an X window's name matches `regex`; returns that name. Needs xwininfo.
  std::string wait_for_window(std::string_view regex, WaitOptions options = {},
                              Here here = Here::current());
  /// The names of all X windows of display :0, top-level and below. Needs xwininfo.
  std::vector<std::string> get_window_names(Here here = Here::current());

  /// Takes a picture of what the machine shows with a tool in the machine, so on every backend, and
  /// brings it to `path` as a PNG file: a relative one is below attest::artifact_dir(). What is
  /// there is replaced, missing directories are made. Returns where it is. Throws
  /// Error{unsupported} naming what is missing (the tool with its package, a framebuffer, an X
  /// server, a compositor), Error{guest} if the tool fails, Error{host} if it cannot be written.
  ///     web.guest_screenshot("login.png", {.method = ScreenshotMethod::x11, .display = ":1"});
  std::filesystem::path guest_screenshot(const std::filesystem::path& path,
                                         GuestScreenshotOptions options = {},
                                         Here here = Here::current());

  // ---- systemd ------------------------------------------------------------------------

  /// Runs `systemctl ARGUMENTS` (with options.user: that user's own). Any exit code is a result.
  ///     web.systemctl("list-jobs --full").output
  CommandResult systemctl(std::string_view arguments, UnitOptions options = {},
                          Here here = Here::current());
  /// `systemctl start JOB`, which waits for the job. A job that fails is a result, too.
  CommandResult start_job(std::string_view job, UnitOptions options = {},
                          Here here = Here::current());
  /// `systemctl stop JOB`.
  CommandResult stop_job(std::string_view job, UnitOptions options = {},
                         Here here = Here::current());
  /// All properties of a unit, as `systemctl show` prints them; those of a unit that does not exist
  /// say so in LoadState. Error{guest} if systemctl fails.
  std::map<std::string, std::string> get_unit_info(std::string_view unit, UnitOptions options = {},
                                                   Here here = Here::current());
  /// One property of a unit: get_unit_property("nginx.service", "MainPID").
  std::string get_unit_property(std::string_view unit, std::string_view property,
                                UnitOptions options = {}, Here here = Here::current());
  /// Throws Error{guest} unless the unit's ActiveState is `state` now; does not wait.
  void require_unit_state(std::string_view unit, std::string_view state = "active",
                          UnitOptions options = {}, Here here = Here::current());
  /// The journal's text, with all that was logged before the call.
  ///     EXPECT_THAT(web.journal({.unit = "nginx.service"}), HasSubstr("Started"));
  std::string journal(JournalOptions options = {}, Here here = Here::current());
  /// The journal as it grows: read_line() gives each new line.
  Process journal_follow(JournalOptions options = {}, Here here = Here::current());

  // ---- files --------------------------------------------------------------------------

  /// Copies a file or a whole tree of the host to `target`, with modes, symbolic links and holes:
  /// `target` becomes what `source` is. Files are replaced, directories merged, missing parents
  /// made. Throws Error{host} if `source` cannot be read, Error{guest} if `target` cannot be
  /// written.
  void copy_from_host(const std::filesystem::path& source, std::string_view target,
                      CopyOptions options = {}, Here here = Here::current());
  /// The same. (Where the name comes from it worked without a shared directory; here both do.)
  void copy_from_host_via_shell(const std::filesystem::path& source, std::string_view target,
                                CopyOptions options = {}, Here here = Here::current());
  /// Copies a file or tree of the machine into `target_dir`, a relative path below
  /// attest::artifact_dir(), under its own name; returns where it is now. No name that the guest
  /// chooses leads out of there.
  std::filesystem::path copy_from_machine(std::string_view source, std::string_view target_dir = "",
                                          CopyOptions options = {}, Here here = Here::current());
  /// The older name of copy_from_machine().
  std::filesystem::path copy_from_vm(std::string_view source, std::string_view target_dir = "",
                                     CopyOptions options = {}, Here here = Here::current());
  /// A whole file of the machine, at most 64 MiB.
  std::string read_file(std::string_view path, WaitOptions options = {},
                        Here here = Here::current());
  /// Creates or replaces a file of the machine, and the directories that it needs.
  ///     web.write_file("/usr/local/bin/hello", script, {.mode = 0755});
  void write_file(std::string_view path, std::string_view bytes, FileOptions options = {},
                  Here here = Here::current());
  /// The directory of the host that the machine sees as /tmp/shared; it is mounted there if it was
  /// not yet. Both sides see what the other writes, and all machines of the driver have the same.
  /// Error{unsupported} where nothing can be shared (MountConfig says where; a start_script shares
  /// this one alone): use copy_from_host() and copy_from_machine() there.
  std::filesystem::path shared_dir(Here here = Here::current());

  // ---- network ------------------------------------------------------------------------

  /// Its address on `vlan` (0: on the first of its VLANs): "192.168.1.2". The test process reaches
  /// it there, under its name too, wherever there is a sandbox. Error{usage} if it is not on that
  /// VLAN, Error{unsupported} if it is on none.
  std::string address(int vlan = 0, Here here = Here::current()) const;
  /// The same of IPv6: "2001:db8:1::2".
  std::string address6(int vlan = 0, Here here = Here::current()) const;
  /// Pulls the machine's network cables, that of one VLAN or (0) of all: nothing passes there, and
  /// a card that can tell says so. Commands reach the machine as before. Lasts until unblock(),
  /// over reboots too.
  void block(int vlan = 0, Here here = Here::current());
  /// Plugs them in again.
  void unblock(int vlan = 0, Here here = Here::current());
  /// From now on, until the driver ends, connections to 127.0.0.1:`host_port` of the host (outside
  /// the sandbox, where a browser is) reach `guest_port` of the machine. Returns the host's port; 0
  /// picks a free one. A machine that is on a VLAN of the test process is reached at its address
  /// there, under the faults of that network; any other at its own 127.0.0.1, through its agent.
  /// Error{host} if the port is taken.
  ///     int port = web.forward_port(0, 80);
  int forward_port(int host_port = 8080, int guest_port = 80, Here here = Here::current());

  // ---- console ------------------------------------------------------------------------

  /// The serial console's text so far, of this boot and those before; the newest MiB of it.
  std::string get_console_log() const;
  /// Sends `text` to the serial console, as if typed there: send_console("root\n").
  void send_console(std::string_view text, Here here = Here::current());
  /// What virtual terminal `tty` shows, a line for each row. Error{guest} if there is none.
  std::string get_tty_text(int tty, Here here = Here::current());
  /// Prints that to the log.
  void dump_tty_contents(int tty, Here here = Here::current());

 private:
  std::unique_ptr<Impl> impl_;
};

extern template CommandResult Machine::run<void>(std::vector<std::string>, CommandOptions, Here);

}  // namespace attest
