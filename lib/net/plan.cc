#include "lib/net/plan.h"

#include "attest/error.h"
#include "lib/base/text.h"
#include "lib/net/uplink.h"

#include <algorithm>
#include <set>

namespace attest::net {
namespace {

std::string hex_byte(int value) {
  constexpr std::string_view digits = "0123456789abcdef";
  return {digits[static_cast<std::size_t>(value) / 16],
          digits[static_cast<std::size_t>(value) % 16]};
}

void require_vlan(int vlan, const std::string& whose) {
  if (vlan < 1 || vlan > last_vlan)
    throw Error(Error::Kind::usage, "VLAN " + std::to_string(vlan) + " of " + whose +
                                        " is outside 1 to " + std::to_string(last_vlan))
        .hint("a VLAN's number is the third part of its addresses, 192.168.<vlan>.<node>");
}

// The address under which `self` should know `peer`; null if the peer has none.
const Nic* address_for(const Node& self, const Node& peer) {
  for (auto& own : self.nics)
    for (auto& theirs : peer.nics)
      if (own.vlan == theirs.vlan) return &theirs;
  return peer.nics.empty() ? nullptr : &peer.nics.front();
}

std::string network_file(const Nic& nic) {
  // Kind: an 802.1Q, bridge or bond interface that a test makes inherits the card's MAC, and must
  // not get its address too.
  // LinkLocalAddressing: without a link-local address the kernel does not send the probes that
  // keep a neighbour entry alive, nor multicast reports; DAD is off, so it costs no wait.
  // ConfigureWithoutCarrier: addresses are there before the switch is, and stay when a test
  // unplugs the link.
  return "[Match]\n"
         "MACAddress=" +
         nic.mac +
         "\n"
         "Kind=!vlan bridge bond team macvlan ipvlan\n"
         "\n"
         "[Network]\n"
         "Address=" +
         nic.ipv4 +
         "/24\n"
         "Address=" +
         nic.ipv6 +
         "/64\n"
         "DHCP=no\n"
         "IPv6AcceptRA=no\n"
         "LinkLocalAddressing=ipv6\n"
         "IPv6DuplicateAddressDetection=0\n"
         "LLMNR=no\n"
         "ConfigureWithoutCarrier=yes\n";
}

}  // namespace

const Node& Plan::node(std::string_view machine) const {
  if (auto found = nodes.find(machine); found != nodes.end()) return found->second;
  Error error(Error::Kind::usage,
              "no machine '" + std::string(machine) + "' is in the network plan");
  std::vector<std::string> known;
  for (auto& [name, node] : nodes) known.push_back(name);
  if (auto advice = base::did_you_mean(machine, known); !advice.empty()) error.hint(advice);
  throw error;
}

Nic make_nic(int vlan, int number) {
  std::string v = std::to_string(vlan), n = std::to_string(number);
  return {.vlan = vlan,
          .mac = "52:54:00:12:" + hex_byte(vlan) + ":" + hex_byte(number),
          .ipv4 = "192.168." + v + "." + n,
          .ipv6 = "2001:db8:" + v + "::" + n};
}

std::string bridge_name(int driver, int vlan) {
  return "at" + std::to_string(driver) + "v" + std::to_string(vlan);
}

std::string interface_name(int driver, int vlan, int number) {
  return bridge_name(driver, vlan) + "n" + std::to_string(number);
}

namespace {

Node make_node(const std::string& name, int number, const std::vector<int>& vlans) {
  Node node{.number = number};
  for (int vlan : vlans) {
    require_vlan(vlan, "machine '" + name + "'");
    if (std::any_of(node.nics.begin(), node.nics.end(),
                    [&](auto& nic) { return nic.vlan == vlan; }))
      throw Error(Error::Kind::usage,
                  "machine '" + name + "' names VLAN " + std::to_string(vlan) + " twice")
          .hint("a machine has one NIC on a VLAN");
    node.nics.push_back(make_nic(vlan, number));
  }
  return node;
}

Error too_many(std::size_t machines) {
  return Error(Error::Kind::usage, std::to_string(machines) +
                                       " machines are configured, the addresses are enough for " +
                                       std::to_string(last_node))
      .hint("a machine's number is the last byte of its addresses; split the test");
}

}  // namespace

Plan make_plan(const std::map<std::string, std::vector<int>>& vlans_of_machines,
               const std::vector<int>& extra_vlans) {
  if (vlans_of_machines.size() > last_node) throw too_many(vlans_of_machines.size());
  Plan plan;
  std::set<int> vlans;
  for (int vlan : extra_vlans) {
    require_vlan(vlan, "the configuration's 'vlans'");
    vlans.insert(vlan);
  }
  int number = 0;
  for (auto& [name, list] : vlans_of_machines) {
    plan.nodes.emplace(name, make_node(name, ++number, list));
    vlans.insert(list.begin(), list.end());
  }
  plan.vlans.assign(vlans.begin(), vlans.end());
  return plan;
}

void add_machine(Plan& plan, const std::string& name, const std::vector<int>& vlans) {
  if (plan.nodes.contains(name))
    throw Error(Error::Kind::usage, "machine '" + name + "' is in the network plan already");
  int highest = 0;
  for (auto& [other, node] : plan.nodes) highest = std::max(highest, node.number);
  if (highest >= last_node) throw too_many(static_cast<std::size_t>(highest) + 1);
  auto node = make_node(name, highest + 1, vlans);
  std::set<int> all(plan.vlans.begin(), plan.vlans.end());
  all.insert(vlans.begin(), vlans.end());
  plan.vlans.assign(all.begin(), all.end());
  plan.nodes.emplace(name, std::move(node));
}

void add_uplink(Plan& plan, const std::string& machine) {
  int number = plan.node(machine).number;  // throws for a name that is none
  plan.nodes.find(machine)->second.uplink = make_uplink(number);
}

std::string hosts_file(const Plan& plan, std::string_view machine) {
  auto& self = plan.node(machine);
  std::string text = "127.0.0.1 localhost\n::1 localhost\n";
  for (auto& [name, peer] : plan.nodes)
    if (auto* nic = address_for(self, peer))
      text += nic->ipv4 + " " + name + "\n" + nic->ipv6 + " " + name + "\n";
  return text;
}

std::vector<SeedFile> seed_files(const Plan& plan, std::string_view machine) {
  std::vector<SeedFile> files{{.path = "/etc/hostname", .content = std::string(machine) + "\n"},
                              {.path = "/etc/hosts", .content = hosts_file(plan, machine)}};
  auto& node = plan.node(machine);
  for (auto& nic : node.nics)
    files.push_back(
        {.path = "/etc/systemd/network/10-attest-vlan" + std::to_string(nic.vlan) + ".network",
         .content = network_file(nic)});
  if (node.uplink)
    for (auto& file : uplink_seed(*node.uplink)) files.push_back(std::move(file));
  return files;
}

}  // namespace attest::net
