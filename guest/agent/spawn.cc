#include "guest/agent/spawn.h"

#include <csignal>

namespace attest::agent {

void prepare_spawning() { signal(SIGPIPE, SIG_IGN); }

}  // namespace attest::agent
