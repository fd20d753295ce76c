#include "lib/net/fabric.h"

#include "lib/base/text.h"

namespace attest::net {
namespace {

/// The machines on `vlan`, by what they join it with.
struct Members {
  std::vector<std::string> stream, vde;
};

Members members_of(const Plan& plan, int vlan, const std::set<std::string>& vde_machines) {
  Members members;
  for (auto& [name, node] : plan.nodes)
    for (auto& nic : node.nics)
      if (nic.vlan == vlan)
        (vde_machines.contains(name) ? members.vde : members.stream).push_back(name);
  return members;
}

std::string quoted(const std::vector<std::string>& names) {
  return "'" + base::join(names, "', '") + "'";
}

}  // namespace

Fabric::Fabric(asio::any_io_executor loop, Plan plan, std::set<std::string> vde_machines,
               std::filesystem::path work_dir)
    : loop_(std::move(loop)), work_dir_(std::move(work_dir)) {
  extend(std::move(plan), vde_machines);
}

void Fabric::extend(Plan plan, const std::set<std::string>& vde_machines) {
  auto all_vde = vde_machines_;
  all_vde.insert(vde_machines.begin(), vde_machines.end());
  std::set<int> vde_vlans;
  for (auto& name : all_vde) plan.node(name);  // throws for a name that is none
  for (int vlan : plan.vlans) {
    auto members = members_of(plan, vlan, all_vde);
    if (members.vde.empty()) continue;
    if (!members.stream.empty())
      throw Error(Error::Kind::unsupported,
                  "VLAN " + std::to_string(vlan) + " joins machines with a start script (" +
                      quoted(members.vde) + ") and machines without (" + quoted(members.stream) +
                      "), which cannot be bridged yet")
          .hint("put them on different VLANs, or boot all of them in the same way");
    if (switches_.contains(vlan))
      throw Error(Error::Kind::unsupported, "VLAN " + std::to_string(vlan) +
                                                " runs already, without a vde_switch for " +
                                                quoted(members.vde))
          .hint("put them on a VLAN of their own");
    vde_vlans.insert(vlan);
  }
  plan_ = std::move(plan);
  vde_machines_ = std::move(all_vde);
  vde_vlans_ = std::move(vde_vlans);
}

Task<void> Fabric::start(Deadline deadline) {
  std::vector<int> made;
  for (int vlan : plan_.vlans) {
    if (switches_.contains(vlan) || vde_.contains(vlan)) continue;
    try {
      made.push_back(vlan);
      if (vde_vlans_.contains(vlan)) {
        auto started = co_await VdeSwitch::start(vde_dir_of(vlan), deadline);
        vde_.emplace(vlan, std::move(started));
      } else {
        switches_.emplace(vlan, std::make_unique<Switch>(loop_, socket_of(vlan)));
      }
    } catch (Error& error) {
      for (int undone : made) {
        switches_.erase(undone);
        vde_.erase(undone);
      }
      error.during("setting up VLAN " + std::to_string(vlan));
      throw;
    }
  }
}

std::vector<NetworkAttachment> Fabric::attachments(std::string_view machine) const {
  std::vector<NetworkAttachment> result;
  for (auto& nic : plan_.node(machine).nics) {
    NetworkAttachment attachment{
        .vlan = nic.vlan, .mac = nic.mac, .ipv4 = nic.ipv4, .ipv6 = nic.ipv6};
    if (vde_vlans_.contains(nic.vlan))
      attachment.vde = vde_dir_of(nic.vlan);
    else
      attachment.socket = socket_of(nic.vlan);
    result.push_back(std::move(attachment));
  }
  return result;
}

Switch* Fabric::in_process(int vlan) const {
  auto found = switches_.find(vlan);
  return found == switches_.end() ? nullptr : found->second.get();
}

std::string Fabric::socket_of(int vlan) const {
  return (work_dir_ / ("vlan" + std::to_string(vlan) + ".sock")).string();
}

std::string Fabric::vde_dir_of(int vlan) const {
  return (work_dir_ / ("vde" + std::to_string(vlan) + ".ctl")).string();
}

}  // namespace attest::net
