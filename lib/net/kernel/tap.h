// TAPs: interfaces whose other end is a descriptor, which a virtual machine monitor reads and
// writes. They are made by ioctl (netlink cannot) and plugged in by Netlink::make().
#pragma once
#include "lib/base/fd.h"

#include <string>

namespace attest::net {

/// Makes the TAP `name` in the network namespace that the thread is in, or attaches to it if it is
/// a persistent one that nobody else holds. It goes with the descriptor, unless `persistent`, where
/// only removing it ends it; remove many by Netlink::remove_group() before closing. It is down and
/// on no bridge. Without `vnet_header` frames in both directions are whole, checksums included, so
/// that AF_PACKET can take them from its bridge's other ports. With it (IFF_VNET_HDR) each frame
/// has a virtio-net header before it, and a guest may leave segments and checksums to others. A
/// persistent TAP is what the one says who attaches to it next.
/// Throws Error{unsupported} with the remedy if this host or sandbox has no TAPs for us,
/// Error{host} for all else.
base::Fd open_tap(const std::string& name, bool persistent = false, bool vnet_header = false);

/// Why open_tap() cannot work for this process, as a text with the remedy; "" if it can. Tries one
/// in a namespace of its own, some milliseconds, once per process.
const std::string& why_no_tap();

}  // namespace attest::net
