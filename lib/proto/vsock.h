// The handshake by which a monitor's unix socket leads to a port of the guest's vsock (Firecracker,
// Cloud Hypervisor, vhost-device-vsock): "CONNECT <port>\n", answered by "OK <number>\n".
#pragma once
#include "lib/async/net.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace attest::proto {

/// "CONNECT 1024\n". Pure.
std::string vsock_request(unsigned port);

/// Judges what has come back so far. Pure: nullopt if the line is not whole yet; else how many
/// bytes it has, its end included, what follows being the guest's. Throws Error{protocol} quoting
/// what came as soon as that cannot become "OK <number>\n".
std::optional<std::size_t> vsock_answer(std::string_view bytes);

/// Sends the request over `stream`, a fresh connection to the monitor's socket, in one write, and
/// returns a stream of the guest's bytes, those that came with the answer first. Throws
/// Error{host} if the connection ends without an answer: nobody listens on that port in the guest,
/// or it has no driver yet; Error{protocol}, Error{timeout}.
Task<std::unique_ptr<Stream>> vsock_connect(std::unique_ptr<Stream> stream, unsigned port,
                                            Deadline deadline);

}  // namespace attest::proto
