// The QEMU backend: direct kernel boot of an image or of a kernel by hand, firmware, or a
// nixpkgs-built start script; KVM where it runs guests, else TCG. docs: backends/README.md.
#pragma once
#include "attest/backend.h"

namespace attest::qemu {

/// One machine under QEMU. boot() throws Error{usage, unsupported, host, timeout} with QEMU's own
/// words if it has said any; nothing is made or started before it.
std::unique_ptr<Backend> make_qemu(BackendContext context);

/// The entry for the table of backends. `missing` names "qemu" or "kvm"; an image that is not there
/// is an error of boot(), no lack of the host.
BackendEntry qemu_backend();

}  // namespace attest::qemu
