// A command that runs while the caller goes on, over attest-agent.
#pragma once
#include "lib/guest/guest.h"
#include "lib/proto/agent.h"

#include <memory>

namespace attest::guest {

/// Starts `command`; returns once it runs. Throws what Guest::spawn() throws.
Task<std::unique_ptr<Process>> spawn_over(std::shared_ptr<proto::Agent> agent, Command command,
                                          Deadline deadline);

}  // namespace attest::guest
