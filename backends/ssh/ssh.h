// A machine that is a running host, reached over SSH. attest does not own it: boot() connects,
// kill() drops the connection, and so does shutdown(), unless the config allows more.
#pragma once
#include "attest/backend.h"

namespace attest::ssh {

/// Throws Error{unsupported} for the first key that a running host cannot honour, Error{usage} for
/// a host that is not named. `vlans` and the sizes have defaults and are passed over; mounts
/// are copied.
void check_config(const std::string& machine, const MachineConfig& config);

/// See the file comment. Throws as check_config() does.
std::unique_ptr<Backend> make_ssh(BackendContext context);

/// For builtin_backends().
BackendEntry ssh_backend();

}  // namespace attest::ssh
