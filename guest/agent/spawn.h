// Starting programs: in a session of their own, with nothing of the agent's left in them.
#pragma once

namespace attest::agent {

/// Sets up what only the agent itself has: SIGPIPE ignored, many descriptors, spared by the
/// out-of-memory killer. Call once at start, before anything is spawned.
void prepare_spawning();

}  // namespace attest::agent
