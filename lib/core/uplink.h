// The passt of a machine with `internet`: started outside the sandbox, and proven to be up.
#pragma once
#include "attest/backend.h"
#include "lib/base/fd.h"
#include "lib/net/plan.h"

#include <memory>
#include <optional>

namespace attest::core {

/// Whether the machine, joining its VLANs so, gets a card that leads out: it asks for one, and has
/// cards of ours. Backends refuse `internet` where it gets none.
bool has_uplink(const MachineConfig& config, Wiring wiring);

/// What this host lacks for an uplink; nullopt if there is a passt.
std::optional<Missing> missing_for_uplink();

/// Starts passt on the host for the machine with the card `nic` and waits until it answers. Frames
/// pass it through the returned stream, as on a Switch; it ends when that is closed. Throws
/// Error{host} with passt's own words, Error{timeout}.
Task<base::Fd> open_uplink(std::shared_ptr<Outside> outside, net::Nic nic, Deadline deadline);

}  // namespace attest::core
