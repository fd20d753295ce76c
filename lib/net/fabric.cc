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
    : loop_(std::move(loop)), plan_(std::move(plan)) {
  for (auto& name : vde_machines) plan_.node(name);  // throws for a name that is none
  for (int vlan : plan_.vlans) {
    auto members = members_of(plan_, vlan, vde_machines);
    std::string number = std::to_string(vlan);
    if (members.vde.empty()) {
      switches_.emplace(
          vlan, std::make_unique<Switch>(loop_, (work_dir / ("vlan" + number + ".sock")).string()));
      continue;
    }
    if (!members.stream.empty())
      throw Error(Error::Kind::unsupported,
                  "VLAN " + number + " joins machines with a start script (" + quoted(members.vde) +
                      ") and machines without (" + quoted(members.stream) +
                      "), which cannot be bridged yet")
          .hint("put them on different VLANs, or boot all of them in the same way");
    vde_dirs_.emplace(vlan, work_dir / ("vde" + number + ".ctl"));
  }
}

Task<void> Fabric::start(Deadline deadline) {
  for (auto& [vlan, dir] : vde_dirs_) {
    if (vde_.contains(vlan)) continue;
    std::string step = "setting up VLAN " + std::to_string(vlan);
    try {
      vde_[vlan] = co_await VdeSwitch::start(dir, deadline);
    } catch (Error& error) {
      vde_.erase(vlan);
      error.during(step);
      throw;
    }
  }
}

std::vector<NetworkAttachment> Fabric::attachments(std::string_view machine) const {
  std::vector<NetworkAttachment> result;
  for (auto& nic : plan_.node(machine).nics) {
    NetworkAttachment attachment{
        .vlan = nic.vlan, .mac = nic.mac, .ipv4 = nic.ipv4, .ipv6 = nic.ipv6};
    if (auto* own = in_process(nic.vlan))
      attachment.socket = own->socket();
    else
      attachment.vde = vde_dirs_.at(nic.vlan).string();
    result.push_back(std::move(attachment));
  }
  return result;
}

Switch* Fabric::in_process(int vlan) const {
  auto found = switches_.find(vlan);
  return found == switches_.end() ? nullptr : found->second.get();
}

}  // namespace attest::net
