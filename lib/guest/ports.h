// Waiting for TCP and UDP ports, seen from inside the guest.
#pragma once
#include "lib/guest/guest.h"

#include <string>

namespace attest::guest {

/// Waits until something accepts TCP connections on `port` of options.address, or with options.udp
/// until a socket of the guest is bound to that UDP port. A probe whose packets are dropped ends at
/// the deadline, too. Throws Error{usage} for a bad port or address; `options.timeout` is not
/// looked at.
Task<void> wait_for_open_port(Guest& guest, int port, PortOptions options, Deadline deadline);
/// The opposite: returns as soon as nothing does.
Task<void> wait_for_closed_port(Guest& guest, int port, PortOptions options, Deadline deadline);

/// How a shell finds that out, as a Probe::Contract::states: with bash's own sockets, else `nc -z`;
/// UDP in /proc/net. Pure; throws Error{usage}.
std::string port_probe(const PortOpen& port);

}  // namespace attest::guest
