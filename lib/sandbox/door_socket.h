// Packets over a unix socket pair, each with at most one descriptor (SCM_RIGHTS).
#pragma once
#include "lib/base/fd.h"

#include <string>
#include <string_view>
#include <utility>

namespace attest::sandbox {

/// A received packet; `bytes` is empty at the end of the stream.
struct Packet {
  std::string bytes;
  base::Fd fd;
};

/// A connected pair of close-on-exec SOCK_SEQPACKET sockets. Throws Error{host}.
std::pair<base::Fd, base::Fd> packet_pair();
/// Sends one packet, with a copy of `fd` unless it is negative. False and errno if the peer is
/// gone; blocks while its queue is full. Async-signal-safe.
bool send_packet(int socket, std::string_view bytes, int fd = -1) noexcept;
/// The next packet; blocks. One that is too long for a door message arrives cut, so that no
/// decoder accepts it. An error reads as the end of the stream.
Packet receive_packet(int socket);

}  // namespace attest::sandbox
