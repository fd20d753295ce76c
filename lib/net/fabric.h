// The network of one driver: realises a plan, one switch per VLAN, and tells each machine where
// to plug in. Faults, captures and kernel bridges will hang off here.
#pragma once
#include "lib/net/plan.h"
#include "lib/net/switch.h"
#include "lib/net/vde.h"

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace attest::net {

/// Owns the switches. Destroy it on the loop thread, after the machines.
class Fabric {
 public:
  /// Makes the in-process switches, which can be joined at once; sockets are named
  /// `work_dir`/vlan<v>.sock (work_dir must exist, be short, and be this driver's own).
  /// `vde_machines` are those whose start script joins a vde_switch; their VLANs get one instead.
  /// Throws Error{unsupported} for a VLAN with machines of both kinds, Error{usage} for a name
  /// that the plan does not have, Error{host}.
  Fabric(asio::any_io_executor loop, Plan plan, std::set<std::string> vde_machines,
         std::filesystem::path work_dir);

  /// Starts the vde_switches, if any; await it on the loop before the first machine boots.
  /// Throws Error{host} if vde_switch is missing or fails, Error{timeout}.
  Task<void> start(Deadline deadline);

  /// How `machine` joins its VLANs, in the order of its list. Throws Error{usage} for an unknown
  /// one.
  std::vector<NetworkAttachment> attachments(std::string_view machine) const;
  const Plan& plan() const noexcept { return plan_; }
  /// The switch of a VLAN; null if there is no such VLAN or it is realised by VDE.
  Switch* in_process(int vlan) const;

 private:
  asio::any_io_executor loop_;
  Plan plan_;
  std::map<int, std::unique_ptr<Switch>> switches_;
  std::map<int, std::filesystem::path> vde_dirs_;
  std::map<int, std::unique_ptr<VdeSwitch>> vde_;
};

}  // namespace attest::net
