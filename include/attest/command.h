// What goes into and comes out of a command in a machine.
#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace attest {

/// What a command printed and how it ended.
struct CommandResult {
  int exit_code = 0;                      ///< 128 + N when signal N ended it
  std::string output;                     ///< stdout, byte for byte
  std::string error_output;               ///< stderr, byte for byte
  std::chrono::milliseconds duration{0};  ///< seen from the host
};

/// How one command runs.
struct CommandOptions {
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.command
  bool strict = true;  ///< bash `set -euo pipefail` (`sh -eu` where there is no bash); false: plain
};

/// One command with everything about it, for Machine::run() and Machine::spawn(). Exactly one of
/// `argv` and `shell` is given.
///     machine.run({.argv = {"id", "-un"}, .user = "alice"});
struct Command {
  std::vector<std::string> argv;           ///< a program and its arguments, run without a shell
  std::string shell;                       ///< a shell text, run as Machine::execute() says
  std::string user;                        ///< default root; with that user's groups and HOME
  std::map<std::string, std::string> env;  ///< on top of the machine's
  std::string cwd;                         ///< default /tmp
  std::string input;  ///< what it finds on stdin; run(): else /dev/null; spawn(): write() goes on
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.command
  bool strict = true;                                ///< for `shell`, as in CommandOptions
};

/// How long one wait may take.
struct WaitOptions {
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.wait
};

/// wait_until_succeeds() and wait_until_fails().
struct RepeatOptions {
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.wait
  /// From one attempt's end to the next one's begin. Default: 5 ms, growing by half to 500 ms.
  std::optional<std::chrono::milliseconds> interval;
};

/// wait_for_unit() and the other calls about units.
struct UnitOptions {
  std::string user;  ///< a user's own manager instead of the system's
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.wait
};

/// wait_for_open_port() and wait_for_closed_port().
struct PortOptions {
  std::string address = "localhost";                 ///< as seen from inside the machine
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.wait
  bool udp = false;  ///< a socket of the machine itself is bound to it; `address` is not looked at
};

/// wait_for_open_unix_socket().
struct SocketOptions {
  bool is_datagram = false;                          ///< SOCK_DGRAM instead of SOCK_STREAM
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.wait
};

/// write_file().
struct FileOptions {
  unsigned mode = 0644;                              ///< permission bits of a new file
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.command
};

/// The calls that copy.
struct CopyOptions {
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.command
};

/// journal() and journal_follow().
struct JournalOptions {
  std::string unit;   ///< one unit's lines; default: all
  int lines = 0;      ///< at most so many, the newest; 0: all (journal_follow(): 10)
  std::string since;  ///< as journalctl takes it: "-5min", "2026-01-31 12:00"; default: this boot
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.command
};

/// snapshot_create().
struct SnapshotOptions {
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.boot
};

/// snapshot_restore().
struct RestoreOptions {
  /// Leaves the guest's clock where it stood when it was saved; else it is set to now.
  bool keep_clock = false;
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.boot
};

/// resize(). What is not given stays.
struct ResizeOptions {
  std::optional<int> vcpus;
  std::optional<int> memory_mb;
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.wait
};

}  // namespace attest
