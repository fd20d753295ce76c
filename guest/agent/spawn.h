// Starting programs: each in a session of its own, with nothing of the agent's left in it.
#pragma once
#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guest/agent/users.h"

namespace attest::agent {

/// Sets up what only the agent itself has: SIGPIPE ignored, many descriptors, spared by the
/// out-of-memory killer. Call once at start, before anything is spawned.
void prepare_spawning();

/// What to start.
struct Program {
  std::vector<std::string> argv;    ///< argv[0] is looked up on `path` unless it has a slash
  std::string path;                 ///< folders with colons between; "" is env's PATH
  std::vector<std::string> env;     ///< NAME=value, all of it
  std::string cwd;                  ///< "" keeps the agent's
  std::optional<User> user;         ///< none: as the agent
  int in = -1, out = -1, err = -1;  ///< become 0, 1, 2; -1 is /dev/null
  int extra = -1;                   ///< becomes 3; -1 is none
  bool terminal = false;            ///< `in` becomes the controlling terminal
};

/// What came of it.
struct Spawned {
  enum class Step { none, fork, terminal, user, directory, exec };
  pid_t pid = -1;  ///< valid if nothing failed
  Step failed = Step::none;
  int error = 0;  ///< the errno of that step
};

/// Returns when the program runs, or has not been started. Does not wait for it.
Spawned spawn(const Program& program);

/// The value of NAME in a list of NAME=value, "" if it is not there.
std::string_view env_value(const std::vector<std::string>& env, std::string_view name);
/// Adds or replaces "NAME=value".
void env_set(std::vector<std::string>& env, std::string_view assignment);
void env_unset(std::vector<std::string>& env, std::string_view name);

/// Where programs are looked for if there is no PATH: NixOS's places, and everybody else's.
extern const char default_path[];

}  // namespace attest::agent
