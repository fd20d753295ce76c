// What can be done inside a machine, whatever carries it: a shell (ShellGuest) or, later, an
// agent. The topics beside this file (units, ports, diagnosis) are written on these calls only.
#pragma once
#include "attest/command.h"
#include "attest/deadline.h"
#include "attest/stream.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace attest::guest {

/// One command. Exactly one of `shell` and `argv` is given.
struct Command {
  std::string shell;              ///< a shell text, run as DESIGN §1 "Commands" says
  std::vector<std::string> argv;  ///< a program and its arguments, run without a shell
  bool strict = true;             ///< set -euo pipefail for `shell`
  std::map<std::string, std::string> env = {};  ///< on top of the guest's
  std::string label = {};  ///< what messages call it; empty: its own first line
};

/// A machine that answers. All calls happen on the loop thread; any number may be under way.
class Guest {
 public:
  virtual ~Guest() = default;

  /// Runs `command` to its end. Past `deadline` its process group gets SIGTERM, then SIGKILL,
  /// and Error{timeout} carries the output so far. Throws Error{guest} for more output than the
  /// limit, Error{protocol} when an answer was damaged on the way (the guest stays usable), and
  /// Error{host} when the stream has ended. Cancelling it ends the command in the guest.
  virtual Task<CommandResult> run(Command command, Deadline deadline) = 0;

  /// What people should know about this guest ("no bash: commands run under sh -eu"), once; then
  /// "".
  virtual std::string take_notice() { return {}; }
};

/// Reads the greeting that the guest sends first and returns the Guest that fits it. Bytes before
/// the greeting are skipped. Throws Error{timeout} with what came instead; Error{guest} if the
/// stream ends.
Task<std::unique_ptr<Guest>> greet(std::unique_ptr<Stream> stream, Deadline deadline);

}  // namespace attest::guest
