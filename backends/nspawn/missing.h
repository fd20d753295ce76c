// What a host must have for containers, and how each lack is told. The facts are found out by
// trying; judging them is pure.
#pragma once
#include "backends/nspawn/nspawn.h"

#include <optional>
#include <string>

namespace attest::nspawn {

/// What this process has found out about its host.
struct HostProbe {
  std::string no_cgroup;     ///< why no cgroup can be made; empty: one can be
  std::string no_namespace;  ///< why a container's namespaces cannot be had; empty: they can be
};

/// Tries it out: a cgroup is made below ours, a child is put into it and into new namespaces, and
/// both are gone again when this returns. Once a process, then cached; takes some milliseconds.
const HostProbe& probe_host();

/// What is missing, with the remedy. `program_found`: systemd-nspawn is there. Pure.
std::optional<Missing> judge(const NspawnHost& host, bool program_found, const HostProbe& probe,
                             const MachineConfig& config);

}  // namespace attest::nspawn
