// Entering the sandbox from any harness: namespaces that end with the tests, a work directory
// that goes with them, and a doorman outside for what must reach the host's network.
// attest::main does this by itself; other harnesses call enter_sandbox() first thing in main.
#pragma once
#include <memory>
#include <optional>
#include <string>

namespace attest {

namespace sandbox {
class Doorman;
}

/// How much of a sandbox was taken, weakest first.
enum class SandboxLevel {
  none,  ///< no namespace; a locked work directory, swept at the next start if left over
  no_pid_namespace,  ///< own network and mount namespaces, in the first process itself
  full               ///< also a pid namespace: when the tests die, everything in it dies
};

/// What the user asked for.
enum class SandboxMode {
  automatic,  ///< the strongest level that works; the sentence says why not more
  require,    ///< full, or an Error{host}
  off         ///< none
};

/// For enter_sandbox().
struct SandboxOptions {
  SandboxMode mode = SandboxMode::automatic;
  bool needs_network = true;  ///< false: level none is no loss, so its sentence does not warn
};

/// What was taken. Keep it until the tests are over: its last copy removes the work directory
/// where the kernel does not.
struct Sandbox {
  SandboxLevel level = SandboxLevel::none;
  std::string work_dir;  ///< exists, mode 0700, and short whatever TMPDIR is
  /// This process is root over at least 65536 ids, as containers need; false: why not, and what to
  /// do about it.
  bool id_range = false;
  std::string why_no_id_range = {};
  std::string sentence;                 ///< one line for people: what was taken, and why not more
  sandbox::Doorman* doorman = nullptr;  ///< sockets on the host's network (lib/sandbox/doorman.h)
  std::shared_ptr<void> keep;           ///< owns the doorman and the work directory
};

/// Enters the sandbox. Call it before any thread exists. At level full it forks and returns only
/// in the child; the original process stays outside, passes signals in, and ends as the child
/// ends (same exit code or signal). At the other levels it returns in the calling process.
/// Whatever must happen once should follow it; unflushed stdio is not written twice.
/// Throws Error{host} with the remedy if `require` cannot be met, or no work directory be made.
Sandbox enter_sandbox(SandboxOptions options = {});

/// What enter_sandbox() has returned in this process, while a copy of that is kept. make_driver()
/// looks here: its drivers work in that sandbox. Any thread.
std::optional<Sandbox> current_sandbox();

}  // namespace attest
