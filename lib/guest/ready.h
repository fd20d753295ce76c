// When a guest that has greeted is ready for what a test asks of it.
#pragma once
#include "attest/config.h"
#include "lib/guest/guest.h"

namespace attest::guest {

/// Waits until systemd has reached basic.target or multi-user.target. Nothing to do for
/// Ready::agent, and where pid 1 is not systemd. Emergency mode ends it at once with Error{guest}.
Task<void> wait_ready(Guest& guest, Ready ready, Deadline deadline);

}  // namespace attest::guest
