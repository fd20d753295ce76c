// The two ways to a port of a machine: by its address on a VLAN, or from inside it.
#pragma once
#include "lib/core/forward.h"
#include "lib/core/running.h"

#include <memory>
#include <string>
#include <string_view>

namespace attest::core {

/// A TCP connection of the test process to `ip`, an address of the machine. Throws Error{guest}
/// with the reason.
Task<std::unique_ptr<FarEnd>> reach_by_network(std::shared_ptr<Running> run, std::string ip,
                                               int port, Deadline deadline);

/// A process in the machine that connects to its 127.0.0.1 and joins that to its own stdin and
/// stdout: perl, or else bash, of which one must be there. bash cannot pass on that the host's side
/// has ended its half; the rest is the same. A refusal shows at the first read().
Task<std::unique_ptr<FarEnd>> reach_from_inside(std::shared_ptr<Running> run, int port,
                                                Deadline deadline);

/// For bash: joins port $1 to its stdin and stdout.
extern const std::string_view by_bash;

}  // namespace attest::core
