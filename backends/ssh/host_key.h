// Is it the host that we mean? Nothing is taken on trust unless the config says so.
#pragma once
#include "attest/config.h"
#include "backends/ssh/session.h"

namespace attest::ssh {

/// Before the handshake: asks the host for a kind of key that known_hosts has for it.
void prefer_known_keys(Session& session, const SshConfig& config);

/// After the handshake: checks the host's key against the config's fingerprint, else known_hosts;
/// notes a new one there if the config says accept_new. Throws Error{usage} that says what came,
/// what was expected and what to do. Returns a sentence for people, or "".
std::string check_host_key(Session& session, const SshConfig& config);

}  // namespace attest::ssh
