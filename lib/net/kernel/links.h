// What Netlink::make() makes at once: the bridges of VLANs and the cables to them. A cable's end on
// our side is mere plumbing, which must not take part in the network itself.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace attest::net {

/// The longest name that an interface can have.
inline constexpr std::size_t longest_interface_name = 15;

/// Throws Error{host} "<attempt>: ..." for a name that is empty or too long: libnl would cut it,
/// and then two interfaces have one.
void require_interface_name(const std::string& name, const std::string& attempt);

/// A bridge with addresses of ours.
struct BridgeLink {
  std::string name;
  std::string mac;                     ///< for good: without one it changes as ports come and go
  std::uint32_t group = 0;             ///< of interfaces, for remove_group()
  std::vector<std::string> addresses;  ///< "192.168.1.254/24"; of IPv6 too, left out without it
};

/// Two interfaces that are one cable: one end here, the other in a guest's namespace.
struct Veth {
  std::string host_name;            ///< as in NetworkAttachment::interface
  std::string bridge;               ///< exists in this namespace, or is made at once; "": none
  std::string guest_name = "eth0";  ///< in the guest's namespace
  std::string guest_mac;            ///< "52:54:00:12:01:02"; empty: the kernel's choice
  int guest_netns = -1;             ///< descriptor of the guest's namespace, borrowed for the call
  std::uint32_t group = 0;          ///< 0: that of the bridge
};

/// Two interfaces that are one cable with both ends here.
struct Pair {
  std::string name;
  std::string peer;
  std::uint32_t group = 0;  ///< of both
  std::string mac;          ///< of `name`; empty: the kernel's choice
  std::string bridge;       ///< that `name` is on; "": none
};

/// An interface that exists, as a TAP.
struct CableEnd {
  std::string name;
  std::string bridge;       ///< "": none
  std::uint32_t group = 0;  ///< 0: that of the bridge
};

/// Everything that one call makes.
struct Links {
  std::vector<BridgeLink> bridges;
  std::vector<Veth> veths;
  std::vector<Pair> pairs;
  std::vector<CableEnd> ends;
};

}  // namespace attest::net
