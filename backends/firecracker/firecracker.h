// Firecracker machines: a process each, which its API configures, with TAPs as cards and vsock as
// the way to attest-agent.
#pragma once
#include "attest/backend.h"

namespace attest::firecracker {

/// For Backends under "firecracker". The machine's state_dir holds its disks, its work_dir the
/// monitor's sockets, log ("firecracker.log") and metrics.
BackendEntry firecracker_backend();

}  // namespace attest::firecracker
