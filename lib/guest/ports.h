// TCP ports, seen from inside the guest.
#pragma once
#include "lib/guest/guest.h"

#include <string>

namespace attest::guest {

/// Waits until something accepts TCP connections on `port` of options.address. Uses bash's own
/// sockets, else `nc -z`. A probe whose packets are dropped ends at the deadline, too. Throws
/// Error{usage} for a bad port or address; `options.timeout` is not looked at.
Task<void> wait_for_open_port(Guest& guest, int port, PortOptions options, Deadline deadline);

/// The probe's shell text. Pure; throws Error{usage}.
std::string port_probe(int port, const std::string& address);

}  // namespace attest::guest
