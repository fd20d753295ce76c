// What goes into and comes out of a command in a machine.
#pragma once
#include <chrono>
#include <optional>
#include <string>

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

/// How long one wait may take.
struct WaitOptions {
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.wait
};

/// wait_for_unit().
struct UnitOptions {
  std::string user;  ///< a user's own manager instead of the system's
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.wait
};

/// wait_for_open_port().
struct PortOptions {
  std::string address = "localhost";                 ///< as seen from inside the machine
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.wait
};

}  // namespace attest
