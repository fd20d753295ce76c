// Who is where on the network: pure arithmetic from machine names and VLAN lists to MACs,
// addresses and the files a machine needs to use them. The fabric turns a plan into switches;
// addresses are the same however a VLAN is realised.
#pragma once
#include "attest/backend.h"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace attest::net {

/// The highest node number a machine can have.
inline constexpr int last_node = 253;
/// The node number of the test process itself, on every VLAN: 192.168.v.254.
inline constexpr int test_process_node = 254;
inline constexpr int last_vlan = 254;

/// One network card of one machine.
struct Nic {
  int vlan = 1;
  std::string mac;   ///< "52:54:00:12:01:02": VLAN and node number, two lower-case hex digits each
  std::string ipv4;  ///< "192.168.1.2", a /24
  std::string ipv6;  ///< "2001:db8:1::2", a /64; the numbers are decimal digits taken as text
  bool operator==(const Nic&) const = default;
};

/// One machine: its node number, and its NICs in the order of its VLAN list.
struct Node {
  int number = 0;
  std::vector<Nic> nics;
  std::optional<Nic> uplink = {};  ///< the card behind those, if it has internet (lib/net/uplink.h)
  bool operator==(const Node&) const = default;
};

/// The whole network of a driver.
struct Plan {
  std::vector<int> vlans;                          ///< all that exist, ascending
  std::map<std::string, Node, std::less<>> nodes;  ///< by machine name

  /// Throws Error{usage} naming the nearest machine if there is none of that name.
  const Node& node(std::string_view machine) const;
  bool operator==(const Plan&) const = default;
};

/// The card of node `number` on `vlan`.
Nic make_nic(int vlan, int number);

/// Names of interfaces, no two alike for different numbers: of a VLAN's bridge, and of our end of
/// the link to node `number` on it. At most 15 bytes, all that the kernel takes, for drivers 0 to
/// last_driver.
std::string bridge_name(int driver, int vlan);
std::string interface_name(int driver, int vlan, int number);
inline constexpr int last_driver = 99'999;

/// Numbers the machines from 1 in alphabetical (byte) order and lays out their NICs.
/// `extra_vlans` exist even if no machine is on them; naming one twice does no harm. Throws
/// Error{usage} for more than 253 machines, a VLAN outside 1..254, and a VLAN twice on one machine.
Plan make_plan(const std::map<std::string, std::vector<int>>& vlans_of_machines,
               const std::vector<int>& extra_vlans = {});

/// Adds a machine with the next node number; the others keep theirs. Throws Error{usage} as
/// make_plan() does, and for a name that is there already; `plan` is unchanged then.
void add_machine(Plan& plan, const std::string& name, const std::vector<int>& vlans);

/// Gives a machine a card that leads out of the host. Throws Error{usage} for an unknown one.
void add_uplink(Plan& plan, const std::string& machine);

/// /etc/hosts of `machine`: localhost, then one IPv4 and one IPv6 line for each machine with an
/// address, itself included. A peer on several VLANs gets its address on the first VLAN of
/// `machine`'s own list that both are on, so that names lead to reachable addresses; a peer
/// without a common VLAN gets its first address. Throws Error{usage} for an unknown machine.
std::string hosts_file(const Plan& plan, std::string_view machine);

/// What `machine` must contain from its first moment on to be on the network: hostname, hosts,
/// and one systemd-networkd file per NIC (understood by systemd 252; newer keys are avoided); with
/// an uplink resolv.conf too.
/// Throws Error{usage} for an unknown machine.
std::vector<SeedFile> seed_files(const Plan& plan, std::string_view machine);

}  // namespace attest::net
