// The network of one driver: realises a plan, one switch or bridge per VLAN, and tells each machine
// where to plug in. Faults and captures will hang off here.
#pragma once
#include "lib/net/kernel/bridge.h"
#include "lib/net/plan.h"
#include "lib/net/switching/switch.h"
#include "lib/net/switching/vde.h"

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace attest::net {

/// Where a fabric may make what.
struct FabricSetup {
  std::filesystem::path work_dir;  ///< short, and this driver's own
  bool own_network = false;        ///< bridges may be made in this network namespace
};

/// Owns the switches and bridges. Once start() was called, destroy it on the loop thread, after the
/// machines. Bridges are in the network namespace that the loop thread is in.
class Fabric {
 public:
  /// Lays out what start() will make. `wirings` says how each machine joins its VLANs (in_process
  /// if it is not named), and so how they are realised. Throws Error{unsupported} for a VLAN with
  /// machines of two kinds, and for a bridge without a network of our own; Error{usage} for a name
  /// that the plan does not have.
  Fabric(asio::any_io_executor loop, Plan plan, std::map<std::string, Wiring> wirings,
         FabricSetup setup);
  Fabric(const Fabric&) = delete;
  Fabric& operator=(const Fabric&) = delete;
  /// Removes bridges with all that is still plugged in, in some 40 ms.
  ~Fabric();

  /// Makes all switches; await it on the loop before the first machine boots. When it returns
  /// every one can be joined. After a failure nothing that it made is left, and it may be called
  /// again; once it has succeeded it does nothing. Throws Error{host} (no work_dir, vde_switch
  /// missing or failing, a bridge refused), Error{timeout}.
  Task<void> start(Deadline deadline);

  /// Takes a larger plan, with what start() has made already; start() then makes the rest.
  /// `wirings` are those of the new machines. Throws as the constructor does, and changes
  /// nothing then.
  void extend(Plan plan, const std::map<std::string, Wiring>& wirings);

  /// How `machine` joins its VLANs, in the order of its list: sockets are `work_dir`/vlan<v>.sock,
  /// VDE directories `work_dir`/vde<v>.ctl; bridges and interfaces have names that no other driver
  /// of this process has. Valid before start() too. Throws Error{usage} for an unknown machine.
  std::vector<NetworkAttachment> attachments(std::string_view machine) const;
  const Plan& plan() const noexcept { return plan_; }
  /// The switch of a VLAN; null before start(), for a VLAN that is not in the plan, and where
  /// it is no switch of ours.
  Switch* in_process(int vlan) const;

 private:
  std::string socket_of(int vlan) const;
  std::string vde_dir_of(int vlan) const;

  Wiring wiring_of(int vlan) const;
  Task<void> start_one(int vlan, Deadline deadline);

  asio::any_io_executor loop_;
  int driver_;  ///< in names of interfaces
  Plan plan_;
  std::map<std::string, Wiring> wirings_;
  std::map<int, Wiring> vlans_;  ///< how each is realised, if not in_process
  FabricSetup setup_;
  std::map<int, std::unique_ptr<Switch>> switches_;
  std::map<int, std::unique_ptr<VdeSwitch>> vde_;
  std::map<int, std::unique_ptr<Bridge>> bridges_;
};

}  // namespace attest::net
