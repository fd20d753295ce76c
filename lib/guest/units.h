// Waiting for systemd units in the guest.
#pragma once
#include "lib/guest/guest.h"

#include <string>

namespace attest::guest {

/// Waits until `unit` is active. A failed unit, one that does not exist, and an inactive one while
/// no job is pending end the wait at once with Error{guest}; a guest without systemd with
/// Error{unsupported}; a name that is none with Error{usage}. `options.timeout` is not looked at.
Task<void> wait_for_unit(Guest& guest, std::string unit, UnitOptions options, Deadline deadline);

/// How a shell finds that out, as a Probe::Contract::states. Pure; throws Error{usage}.
std::string unit_probe(const std::string& unit, const std::string& user);

}  // namespace attest::guest
