// Interfaces of the kernel, by rtnetlink: bridges, veth pairs and addresses. Each call is a few
// exchanges with the kernel and blocks for as long: making takes less than a millisecond (more
// while something else holds the kernel's one lock for interfaces), removing waits for the kernel's
// readers to be through, some 20 ms. Remove many as a group: they wait together.
#pragma once
#include "lib/net/kernel/netlink_socket.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace attest::net {

/// The longest name that an interface can have.
inline constexpr std::size_t longest_interface_name = 15;

/// Two interfaces that are one cable: one end here on a bridge, the other in a guest's namespace.
struct Veth {
  std::string host_name;            ///< as in NetworkAttachment::interface
  std::string bridge;               ///< exists in this namespace
  std::string guest_name = "eth0";  ///< in the guest's namespace
  std::string guest_mac;            ///< "52:54:00:12:01:02"; empty: the kernel's choice
  int guest_netns = -1;             ///< descriptor of the guest's namespace, borrowed for the call
};

/// Changes the network namespace that the thread is in when this is made; one thread at a time,
/// which must still be in that namespace. What it makes stays until it is removed, or the
/// namespace ends. Everything throws Error{host} with what was attempted, the interface's name and
/// the kernel's reason.
class Netlink {
 public:
  Netlink() = default;

  /// A bridge, up: no STP, so that ports forward at once, no multicast snooping, so that nothing
  /// is held back, and `mac` for good (without one it changes as ports come and go, and what
  /// peers know of it goes stale). With IPv6 it takes no router's advertisement and does not wait
  /// for duplicate addresses. It and all links on it are of `group`.
  void make_bridge(const std::string& name, const std::string& mac, std::uint32_t group = 0);
  /// `address` is of IPv4 or IPv6 and usable at once. False if it is of IPv6 and the kernel or the
  /// interface has none.
  bool add_address(const std::string& name, const std::string& address, int prefix);
  /// Makes both ends. Ours is up, on the bridge, and without IPv6 of its own, the guest's is down.
  /// Nothing is left after a failure.
  void make_veth(const Veth& veth);
  void set_up(const std::string& name);
  /// With a veth its other end goes too, wherever it is. Fine if it is not there.
  void remove(const std::string& name) noexcept;
  /// Removes all interfaces of a group, which is not 0, the kernel's own. Fine if there are none.
  void remove_group(std::uint32_t group) noexcept;
  /// The names of all interfaces that start with `prefix`.
  std::vector<std::string> names(std::string_view prefix = {});

 private:
  NetlinkSocket socket_;
};

}  // namespace attest::net
