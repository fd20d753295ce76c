// An interface of the kernel as a socket: what arrives at the interface is received, whole frames,
// and what is sent leaves by it. For one end of a veth pair whose other end a container has, with
// the offloads of that end off (kernel/offload.h): what is read here is as that end sent it.
#pragma once
#include "lib/base/fd.h"

#include <string>

namespace attest::net {

/// A non-blocking AF_PACKET socket bound to `interface` of the network namespace that the calling
/// thread is in; it stays with that namespace. Nothing of other interfaces and nothing that left
/// by this one is received; 802.1Q tags that the kernel strips come as control messages. The
/// interface may be down still. Throws Error{host}: without CAP_NET_RAW, without the interface.
base::Fd open_packet_socket(const std::string& interface);

/// What has become of the interface of such a socket.
enum class LinkState { up, down, gone };
LinkState link_state(int packet_socket) noexcept;

}  // namespace attest::net
