// Who are we? Every way of logging in that the config gives, in ssh's order.
#pragma once
#include "attest/config.h"
#include "backends/ssh/session.h"

namespace attest::ssh {

/// Logs in as config.user: with the key file, the ssh-agent's keys, the password. Throws
/// Error{usage} that lists what was tried and what the host offers; Error{host} when the
/// connection is lost.
Task<void> log_in(std::shared_ptr<Session> session, SshConfig config,
                  std::shared_ptr<Outside> outside, Deadline deadline);

/// Throws Error{usage} for a key file or password file that cannot be used, before anybody is
/// asked.
void check_credentials(const SshConfig& config);

}  // namespace attest::ssh
