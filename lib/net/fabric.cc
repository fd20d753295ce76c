#include "lib/net/fabric.h"

#include "lib/base/text.h"

#include <atomic>

namespace attest::net {
namespace {

std::string_view words(Wiring wiring) {
  switch (wiring) {
    case Wiring::vde:
      return "machines with a start script";
    case Wiring::veth:
      return "containers";
    default:
      return "virtual machines";
  }
}

using Members = std::map<Wiring, std::vector<std::string>>;

Members members_of(const Plan& plan, int vlan, const std::map<std::string, Wiring>& wirings) {
  Members members;
  for (auto& [name, node] : plan.nodes) {
    auto wiring = wirings.find(name);
    for (auto& nic : node.nics)
      if (nic.vlan == vlan)
        members[wiring == wirings.end() ? Wiring::stream : wiring->second].push_back(name);
  }
  return members;
}

// Throws unless all on the VLAN join it in the same way.
void check_one_kind(int vlan, const Members& members) {
  if (members.size() <= 1) return;
  std::vector<std::string> kinds;
  for (auto& [wiring, names] : members)
    kinds.push_back(std::string(words(wiring)) + " ('" + base::join(names, "', '") + "')");
  throw Error(Error::Kind::unsupported, "VLAN " + std::to_string(vlan) + " joins " +
                                            base::join(kinds, " and ") +
                                            ", which cannot be bridged yet")
      .hint("put them on different VLANs, or boot all of them in the same way");
}

// Throws unless bridges can be made.
void check_own_network(int vlan, const Members& members, bool own_network) {
  auto containers = members.find(Wiring::veth);
  if (own_network || containers == members.end()) return;
  throw Error(Error::Kind::unsupported,
              "VLAN " + std::to_string(vlan) + " of '" + base::join(containers->second, "', '") +
                  "' needs a bridge, and no interfaces are made in the host's own network")
      .hint(
          "run with the sandbox (attest::main, --attest_sandbox=auto), or give containers the "
          "host's network or none (\"network\": \"host\" or \"none\")");
}

// Numbers come round again; whoever had the number before is long gone.
int next_driver() {
  static std::atomic<unsigned> drivers = 0;
  return static_cast<int>(drivers++ % (last_driver + 1));
}

// Of the kernel's interfaces; 0 is taken by all that are in none.
std::uint32_t group_of(int driver) { return 0xa77e0000u + static_cast<std::uint32_t>(driver); }

}  // namespace

Fabric::Fabric(asio::any_io_executor loop, Plan plan, std::map<std::string, Wiring> wirings,
               FabricSetup setup)
    : loop_(std::move(loop)), driver_(next_driver()), setup_(std::move(setup)) {
  extend(std::move(plan), wirings);
}

Fabric::~Fabric() {
  // All at once: each removal on its own would wait for the kernel.
  if (!bridges_.empty()) bridges_.begin()->second->remove_group();
}

void Fabric::extend(Plan plan, const std::map<std::string, Wiring>& wirings) {
  auto all = wirings_;
  for (auto& [name, wiring] : wirings) {
    plan.node(name);  // throws for a name that is none
    all[name] = wiring;
  }
  std::map<int, Wiring> vlans;
  for (int vlan : plan.vlans) {
    auto members = members_of(plan, vlan, all);
    check_one_kind(vlan, members);
    check_own_network(vlan, members, setup_.own_network);
    auto kind = members.empty() ? Wiring::stream : members.begin()->first;
    if (kind == Wiring::stream) continue;
    if (switches_.contains(vlan))
      throw Error(Error::Kind::unsupported, "VLAN " + std::to_string(vlan) +
                                                " runs already, without what " +
                                                std::string(words(kind)) + " need: '" +
                                                base::join(members.begin()->second, "', '") + "'")
          .hint("put them on a VLAN of their own");
    vlans[vlan] = kind;
  }
  plan_ = std::move(plan);
  wirings_ = std::move(all);
  vlans_ = std::move(vlans);
}

Wiring Fabric::wiring_of(int vlan) const {
  auto found = vlans_.find(vlan);
  return found == vlans_.end() ? Wiring::stream : found->second;
}

Task<void> Fabric::start_one(int vlan, Deadline deadline) {
  switch (wiring_of(vlan)) {
    case Wiring::vde: {
      auto started = co_await VdeSwitch::start(vde_dir_of(vlan), deadline);
      vde_.emplace(vlan, std::move(started));
      break;
    }
    case Wiring::veth:
      bridges_.emplace(
          vlan, std::make_unique<Bridge>(bridge_name(driver_, vlan),
                                         make_nic(vlan, test_process_node), group_of(driver_)));
      break;
    default: {
      auto made = std::make_unique<Switch>(loop_);
      made->listen(socket_of(vlan), 0);
      switches_.emplace(vlan, std::move(made));
    }
  }
}

Task<void> Fabric::start(Deadline deadline) {
  std::vector<int> made;
  for (int vlan : plan_.vlans) {
    if (switches_.contains(vlan) || vde_.contains(vlan) || bridges_.contains(vlan)) continue;
    try {
      made.push_back(vlan);
      co_await start_one(vlan, deadline);
    } catch (Error& error) {
      for (int undone : made) {
        switches_.erase(undone);
        vde_.erase(undone);
        bridges_.erase(undone);
      }
      error.during("setting up VLAN " + std::to_string(vlan));
      throw;
    }
  }
}

std::vector<NetworkAttachment> Fabric::attachments(std::string_view machine) const {
  std::vector<NetworkAttachment> result;
  auto& node = plan_.node(machine);
  for (auto& nic : node.nics) {
    NetworkAttachment attachment{
        .vlan = nic.vlan, .mac = nic.mac, .ipv4 = nic.ipv4, .ipv6 = nic.ipv6};
    switch (wiring_of(nic.vlan)) {
      case Wiring::vde:
        attachment.vde = vde_dir_of(nic.vlan);
        break;
      case Wiring::veth:
        attachment.bridge = bridge_name(driver_, nic.vlan);
        attachment.interface = interface_name(driver_, nic.vlan, node.number);
        break;
      default:
        attachment.socket = socket_of(nic.vlan);
    }
    result.push_back(std::move(attachment));
  }
  return result;
}

Switch* Fabric::in_process(int vlan) const {
  auto found = switches_.find(vlan);
  return found == switches_.end() ? nullptr : found->second.get();
}

std::string Fabric::socket_of(int vlan) const {
  return (setup_.work_dir / ("vlan" + std::to_string(vlan) + ".sock")).string();
}

std::string Fabric::vde_dir_of(int vlan) const {
  return (setup_.work_dir / ("vde" + std::to_string(vlan) + ".ctl")).string();
}

}  // namespace attest::net
