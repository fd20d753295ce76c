#include "lib/net/layout.h"

#include "attest/error.h"
#include "lib/base/text.h"

#include <vector>

namespace attest::net {
namespace {

using Members = std::map<Wiring, std::vector<std::string>>;

Members members_of(const Plan& plan, int vlan, const Wirings& wirings) {
  Members members;
  for (auto& [name, node] : plan.nodes)
    for (auto& nic : node.nics)
      if (nic.vlan == vlan) members[wiring_of(wirings, name)].push_back(name);
  return members;
}

std::string vlan_of(int vlan, const std::vector<std::string>& names) {
  return "VLAN " + std::to_string(vlan) + " of '" + base::join(names, "', '") + "'";
}

void require_own_network(int vlan, const Members& members) {
  for (auto wiring : {Wiring::veth, Wiring::tap}) {
    auto found = members.find(wiring);
    if (found == members.end()) continue;
    Error error(Error::Kind::unsupported,
                vlan_of(vlan, found->second) +
                    " needs network interfaces, and none are made in the host's own network");
    error.hint(
        wiring == Wiring::veth
            ? "run with the sandbox (attest::main, --attest_sandbox=auto), or give containers "
              "the host's network or none (\"network\": \"host\" or \"none\")"
            : "run with the sandbox (attest::main, --attest_sandbox=auto)");
    throw error;
  }
}

bool in_kernel(int vlan, const Members& members, Realisation wanted) {
  bool streams = members.contains(Wiring::stream), scripts = members.contains(Wiring::vde);
  switch (wanted) {
    case Realisation::process:
      return false;
    case Realisation::kernel:
      if (!scripts) return true;
      throw Error(Error::Kind::unsupported,
                  vlan_of(vlan, members.at(Wiring::vde)) +
                      " cannot be the kernel's: start scripts join by VDE")
          .hint("leave network.realisation at auto, or give those machines an image");
    case Realisation::automatic:
      break;
  }
  return !members.empty() && !streams && !scripts;
}

}  // namespace

Wiring wiring_of(const Wirings& wirings, std::string_view machine) {
  auto found = wirings.find(machine);
  return found == wirings.end() ? Wiring::stream : found->second;
}

bool needs_taps(const Plan& plan, const Wirings& wirings, const std::set<int>& kernel_vlans) {
  for (auto& [name, node] : plan.nodes)
    for (auto& nic : node.nics) {
      auto wiring = wiring_of(wirings, name);
      if (wiring == Wiring::tap) return true;
      if (wiring == Wiring::stream && kernel_vlans.contains(nic.vlan)) return true;
    }
  return false;
}

std::set<int> kernel_vlans(const Plan& plan, const Wirings& wirings, Realisation wanted,
                           bool own_network) {
  std::set<int> kernel;
  for (int vlan : plan.vlans) {
    auto members = members_of(plan, vlan, wirings);
    if (!own_network) require_own_network(vlan, members);
    if (!in_kernel(vlan, members, wanted)) continue;
    if (!own_network)
      throw Error(Error::Kind::unsupported,
                  "VLAN " + std::to_string(vlan) +
                      " cannot be the kernel's: no interfaces are made in the host's own network")
          .hint(
              "run with the sandbox (attest::main, --attest_sandbox=auto), or leave "
              "network.realisation at auto");
    kernel.insert(vlan);
  }
  return kernel;
}

}  // namespace attest::net
