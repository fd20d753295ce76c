// Containers with a systemd of their own: systemd-nspawn boots an image's directory tree (or a
// NixOS system) in namespaces of ours. Nothing is written to the tree, and nothing of the host's
// systemd is needed.
#pragma once
#include "attest/backend.h"

#include <memory>
#include <string>

namespace attest::nspawn {

/// What is known about this host before anything is tried.
struct NspawnHost {
  bool own_network = false;     ///< interfaces may be made: for `network` veth
  bool id_range = false;        ///< root, or root of a user namespace with 65536 ids or more
  std::string why_no_id_range;  ///< the reason and the remedy
};

/// See the file comment. Throws as check_config() does (command_line.h).
std::unique_ptr<Backend> make_nspawn(BackendContext context);

/// What this host lacks for such a machine.
std::optional<Missing> missing(const NspawnHost& host, const MachineConfig& config);

/// For the list of backends.
BackendEntry nspawn_backend(NspawnHost host);

}  // namespace attest::nspawn
