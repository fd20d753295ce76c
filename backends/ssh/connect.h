// From nothing to a session that is logged in, once.
#pragma once
#include "attest/backend.h"
#include "backends/ssh/session.h"

#include <functional>
#include <memory>
#include <string>

namespace attest::ssh {

/// The host is not there (yet): worth another attempt. All else that goes wrong is an Error.
struct NotUp {
  std::string why;
};

/// What a connection needs. A value.
struct Target {
  asio::any_io_executor loop;
  SshConfig config;
  std::shared_ptr<Outside> outside;
  std::function<void(std::string_view)> say;
  /// Is given the session as soon as there is one, to end it from elsewhere.
  std::function<void(std::shared_ptr<Session>)> begun;
};

/// "root@web:22"
std::string peer_name(const SshConfig& config);
/// The proxy command with its %h, %p, %r and %% replaced. Throws Error{usage} for others. Pure.
std::string expand_proxy(const SshConfig& config);

/// Connects, shakes hands, checks the host's key, logs in. Throws NotUp; Error{usage} for keys
/// and credentials, Error{unsupported, host, protocol} for hosts that cannot be talked to.
Task<std::shared_ptr<Session>> connect(Target target, Deadline deadline);

}  // namespace attest::ssh
