// Interfaces of the kernel, by rtnetlink: bridges, veth pairs and addresses. Each call is a few
// exchanges with the kernel and blocks for as long: making takes less than a millisecond (more
// while something else holds the kernel's one lock for interfaces), removing waits for the kernel's
// readers to be through, some 20 ms. Make many by make() and remove many as a group: they wait
// together.
#pragma once
#include "lib/net/kernel/links.h"
#include "lib/net/kernel/netlink_socket.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace attest::net {

/// What the kernel counted at an interface since it was made. Received is what came out of the
/// cable; for our end of a link that is what the machine sent.
struct Counters {
  std::uint64_t rx_frames = 0, tx_frames = 0;
  std::uint64_t rx_dropped = 0, tx_dropped = 0;
};

/// Changes the network namespace that the thread is in when this is made; one thread at a time,
/// which must still be in that namespace. What it makes stays until it is removed, or the
/// namespace ends. Everything throws Error{host} with what was attempted, the interface's name and
/// the kernel's reason.
class Netlink {
 public:
  Netlink() = default;

  /// Makes all of `links` in three exchanges with the kernel (a hundred interfaces take some
  /// milliseconds). Bridges: up, no STP, so that ports forward at once, no multicast snooping, so
  /// that nothing is held back; with IPv6 they take no router's advertisement and do not wait for
  /// duplicate addresses. Our ends of cables: quiet (see quieten()), on their bridge, up. A guest's
  /// end is down. After a failure, which is the first one's, nothing that was made is left, and
  /// `ends` are off every bridge and down.
  void make(const Links& links);
  /// make() for one of its kind.
  void make_bridge(const std::string& name, const std::string& mac, std::uint32_t group = 0);
  void make_veth(const Veth& veth);
  void make_pair(const Pair& pair);

  /// `address` is of IPv4 or IPv6 and usable at once. False if it is of IPv6 and the kernel or the
  /// interface has none.
  bool add_address(const std::string& name, const std::string& address, int prefix);
  void set_up(const std::string& name);
  void set_down(const std::string& name);
  /// Puts an interface on a bridge, from another one if need be; "" takes it off. It stays up.
  void set_master(const std::string& name, const std::string& bridge);
  /// Makes the interface a mere cable end. Off a bridge the kernel would take part in the VLAN
  /// there: it answers ARP on any interface for any address of this namespace, those of our bridges
  /// too, and takes packets for them. IFF_NOARP ends the first, net.ipv4.conf.NAME.rp_filter=1 the
  /// second (the senders' route is by the bridge), and IPv6 is off, or at least without an address
  /// where /proc/sys cannot be written. Frames for AF_PACKET and for the bridge pass untouched.
  void quieten(const std::string& name);
  /// 64-bit counters.
  Counters counters(const std::string& name);

  /// With a veth its other end goes too, wherever it is. Fine if it is not there.
  void remove(const std::string& name) noexcept;
  /// Removes all interfaces of a group, which is not 0, the kernel's own. Fine if there are none.
  /// The way to end TAPs: closing 64 takes over a second, this some 30 ms, and closing then none.
  void remove_group(std::uint32_t group) noexcept;
  /// The names of all interfaces that start with `prefix`.
  std::vector<std::string> names(std::string_view prefix = {});

 private:
  NetlinkSocket socket_;
};

}  // namespace attest::net
