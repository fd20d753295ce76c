// What a network card would do to frames on their way out, which no card does on a virtual cable:
// between interfaces of one kernel, packets travel as much as 64 KiB long and without checksums.
#pragma once
#include <string>

namespace attest::net {

/// Makes whole frames of what leaves `interface` of the network namespace that the thread is in: at
/// most its MTU long and with checksums, as who reads them by AF_PACKET (and passes them on) needs.
/// It is for the end that sends: of a veth pair whose one end is read, call it on the *other* one,
/// in its guest; an interface's own setting is about what it sends only. What a bridge forwards to
/// a port counts as sent by that port. Turns off tx checksumming, scatter-gather, segmentation
/// (TSO, GSO, UDP) and VLAN tag insertion. Throws Error{host}.
void disable_offloads(const std::string& interface);

}  // namespace attest::net
