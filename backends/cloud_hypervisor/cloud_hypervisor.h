// The Cloud Hypervisor backend: one monitor process for each machine, driven over its API socket.
// docs: docs/backends.md.
#pragma once
#include "attest/backend.h"

namespace attest::cloud_hypervisor {

/// The entry for the table of backends. `missing` names "cloud_hypervisor" or "kvm"; an image that
/// is not there is an error of boot(), no lack of the host.
BackendEntry cloud_hypervisor_backend();

}  // namespace attest::cloud_hypervisor
