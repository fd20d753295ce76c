// The network of one driver: realises a plan, one segment per VLAN, tells each machine where to
// plug in, and lets faults and watchers at it.
#pragma once
#include "lib/net/faults.h"
#include "lib/net/names.h"
#include "lib/net/plan.h"
#include "lib/net/seen.h"
#include "lib/net/segment.h"

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace attest::net {

/// Where a fabric may make what.
struct FabricSetup {
  std::filesystem::path work_dir;  ///< short, and this driver's own
  bool own_network = false;        ///< interfaces may be made in this network namespace
  /// Machine names may be put into /etc/hosts, which nobody else sees.
  bool own_mounts = false;
  Realisation realisation = Realisation::automatic;
  std::uint64_t seed = 1;  ///< of the random choices of faults
  /// Takes lines for people.
  std::function<void(std::string_view)> say = [](std::string_view) {};
};

/// Owns the segments. Once start() was called, destroy it on the loop thread, after the machines.
/// Interfaces are in the network namespace that the loop thread is in.
class Fabric {
 public:
  /// Lays out what start() will make. `wirings` says how each machine joins its VLANs (stream if it
  /// is not named), and so how they are realised. Throws Error{unsupported} for interfaces without
  /// a network of our own, and for a kernel VLAN with start scripts; Error{usage} for a name that
  /// the plan does not have.
  Fabric(asio::any_io_executor loop, Plan plan, std::map<std::string, Wiring> wirings,
         FabricSetup setup);
  Fabric(const Fabric&) = delete;
  Fabric& operator=(const Fabric&) = delete;
  /// Removes all interfaces with what is still plugged in, in some 40 ms.
  ~Fabric();

  /// Makes all VLANs; call it on the loop before the first machine boots. When it returns every
  /// one can be joined. After a failure nothing that it made is left, and it may be called again;
  /// once it has succeeded it does nothing. Throws Error{host}: no work_dir, an interface refused.
  void start();

  /// Takes a larger plan, with what start() has made already; start() then makes the rest.
  /// `wirings` are those of the new machines. Throws as the constructor does, and changes
  /// nothing then.
  void extend(Plan plan, const std::map<std::string, Wiring>& wirings);

  /// How `machine` joins its VLANs, in the order of its list: sockets are
  /// `work_dir`/v<vlan>n<node>.sock, VDE directories `work_dir`/v<vlan>n<node>.vde; interfaces have
  /// names that no other driver of this process has. Valid before start() too. Throws Error{usage}
  /// for an unknown machine.
  std::vector<NetworkAttachment> attachments(std::string_view machine) const;
  /// What makes the interfaces of `machine`; valid while the fabric lives.
  std::shared_ptr<Plugs> plugs(std::string_view machine);
  const Plan& plan() const noexcept { return plan_; }

  // All of these on the loop thread, after start().

  /// Puts a fault on; when this returns frames obey it. Returns its number. Throws Error{host}.
  int add_fault(FaultPlan fault);
  /// Takes it off. Fine if it is off.
  void remove_fault(int number);
  /// Pulls or plugs the cable of a machine on one VLAN: nothing passes, and interfaces of the
  /// kernel lose their carrier.
  void set_plugged(std::string_view machine, int vlan, bool plugged);
  /// What `machine` sends on its uplink goes into `passt`, a stream in the switch's framing, and
  /// what comes from there to the machine. Throws Error{usage} if the plan gives it none.
  void connect_uplink(std::string_view machine, base::Fd passt);
  /// Whether there is such a stream, and its other end has not been closed.
  bool has_uplink(std::string_view machine) const;
  LinkStats stats(std::string_view machine, int vlan) const;
  int watch(int vlan, Watcher watcher);
  void unwatch(int vlan, int number) noexcept;
  /// The test process has its address on this VLAN and reaches machines there.
  bool reaches(int vlan) const;
  /// False: the VLAN goes through the switch in this process.
  bool in_kernel(int vlan) const;

 private:
  void make_segment(int vlan);
  void make_uplink(const std::string& machine, Member member);
  void listen_for(const std::string& machine, Member member, int vlan);
  void set_names();
  void apply_rules(int vlan);
  /// On all its VLANs; throws the first failure in the end.
  void apply_rules_of(const FaultPlan& fault);
  Segment& segment(int vlan) const;
  Segment& uplink(std::string_view machine) const;
  std::string path_of(int vlan, Member member, std::string_view ending) const;

  asio::any_io_executor loop_;
  int driver_;  ///< in names of interfaces
  Plan plan_;
  std::map<std::string, Wiring, std::less<>> wirings_;
  std::set<int> kernel_vlans_;  ///< that begin in the kernel
  FabricSetup setup_;
  std::map<int, std::unique_ptr<Segment>> segments_;
  /// Of each machine with an uplink its own; its VLAN counts as 0.
  std::map<std::string, std::unique_ptr<Segment>, std::less<>> uplinks_;
  std::set<std::tuple<int, Member, Wiring>> listening_;
  std::set<int> test_places_;  ///< VLANs on which the test process has its address by us
  std::optional<HostNames> names_;
  std::map<int, FaultPlan> faults_;
  int last_fault_ = 0;
  std::set<std::pair<int, Member>> unplugged_;  ///< VLAN and member
};

}  // namespace attest::net
