#include "lib/entry/builtin.h"

#include "backends/cloud_hypervisor/cloud_hypervisor.h"
#include "backends/firecracker/firecracker.h"
#include "backends/loopback/loopback.h"
#include "backends/nspawn/nspawn.h"
#include "backends/qemu/qemu.h"
#ifdef ATTEST_HAS_SSH
#include "backends/ssh/ssh.h"
#endif

namespace attest::entry {

Backends builtin_backends(const HostFacts& host) {
  return {
      {"cloud_hypervisor", cloud_hypervisor::cloud_hypervisor_backend()},
      {"firecracker", firecracker::firecracker_backend()},
      {"loopback", {.make = loopback::make_loopback, .wiring = [](auto&) { return Wiring::none; }}},
      {"nspawn", nspawn::nspawn_backend({host.own_network, host.id_range, host.why_no_id_range})},
      {"qemu", qemu::qemu_backend()},
#ifdef ATTEST_HAS_SSH
      {"ssh", ssh::ssh_backend()},
#endif
  };
}

}  // namespace attest::entry
