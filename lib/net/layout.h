// Decides what each VLAN is made of: in the kernel, or in this process. Pure.
#pragma once
#include "attest/backend.h"
#include "lib/net/plan.h"

#include <map>
#include <set>
#include <string>

namespace attest::net {

using Wirings = std::map<std::string, Wiring, std::less<>>;

/// The wiring of a machine; stream if it is not named.
Wiring wiring_of(const Wirings& wirings, std::string_view machine);

/// The VLANs that begin in the kernel. Throws Error{unsupported} for a machine that needs an
/// interface where none can be made, and for one that cannot be on a kernel VLAN where that is
/// wanted.
std::set<int> kernel_vlans(const Plan& plan, const Wirings& wirings, Realisation wanted,
                           bool own_network);

/// True if a machine will join a VLAN by a TAP.
bool needs_taps(const Plan& plan, const Wirings& wirings, const std::set<int>& kernel_vlans);

}  // namespace attest::net
