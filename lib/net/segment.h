// One VLAN as it is realised: a bridge of the kernel, or the switch in this process, and what is
// plugged in. A VLAN begins in the kernel where nothing on it needs the switch, and moves into the
// process, for good, when a fault or a capture asks for what the kernel cannot do.
#pragma once
#include "lib/base/fd.h"
#include "lib/net/kernel/bridge.h"
#include "lib/net/kernel/cutter.h"
#include "lib/net/kernel/shaping.h"
#include "lib/net/switching/switch.h"
#include "lib/net/switching/vde_listener.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace attest::net {

/// What a Segment is made of.
struct SegmentSetup {
  int vlan = 1;
  /// The bridge, and with it the test process's place on the VLAN; empty: no interfaces are made.
  std::string bridge;
  std::uint32_t group = 0;  ///< of the kernel's interfaces
  std::optional<Nic> self;  ///< the test process's addresses; needs a bridge
  bool kernel = false;      ///< begin in the kernel; needs a bridge
  std::uint64_t seed = 1;   ///< of random choices
  /// Takes lines for people.
  std::function<void(std::string_view)> say = [](std::string_view) {};
};

/// All calls happen on the loop thread, in the network namespace of the interfaces. Those that make
/// something throw Error{host}.
class Segment {
 public:
  Segment(asio::any_io_executor loop, SegmentSetup setup);
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;
  ~Segment();

  /// Where machines of other wirings join; both move the VLAN into the process.
  void listen_stream(const std::string& path, Member member);
  void listen_vde(const std::filesystem::path& dir, Member member);
  /// Joins a connected stream in the same framing, on a VLAN in the process.
  void join_stream(base::Fd stream, Member member) { switch_.join(std::move(stream), member); }
  /// Joins `name`, an interface that is up: our end of a veth pair whose other end `far_name` is in
  /// the namespace `far_netns` (borrowed).
  void add_interface(const std::string& name, Member member, const std::string& far_name,
                     int far_netns);
  /// Joins the TAP `name`, which is up. With `vnet_header` what comes out of it may be segments
  /// without checksums, which are cut on their way into the process.
  void add_tap(const std::string& name, Member member, bool vnet_header);
  /// Takes an interface out; fine if there is none. It is not removed from the kernel.
  void remove_interface(Member member) noexcept;

  void set_rules(const Rules& rules);
  /// Takes away, or gives back, the carrier of the member's interface, whenever it has one.
  void set_carrier(Member member, bool on);
  LinkStats stats(Member member) const;
  /// Whether the member is at the switch in this process.
  bool has_port(Member member) const;
  /// Moves the VLAN into the process.
  int watch(Watcher watcher);
  void unwatch(int number) noexcept;

  bool in_kernel() const noexcept { return in_kernel_; }
  bool has_test_process() const noexcept { return setup_.self.has_value(); }
  /// Removes all interfaces of the group at once, those of other segments too.
  void remove_group() noexcept;

 private:
  struct Interface {
    std::string name;
    base::Fd far_netns;
    unsigned far_index = 0;          ///< its name there may change
    bool to_cut = false;             ///< frames that come out of it are not whole
    std::unique_ptr<Cutter> cutter;  ///< then, in the process
    int port = 0;                    ///< of the switch; 0 in the kernel
  };
  void add(Member member, Interface made);

  /// The member's interface while there is one: a TAP goes with the hypervisor that has it open.
  const Interface* interface_of(Member member) const;
  void bring_in(Member member, Interface& interface);
  void connect_test_process();
  void disconnect_test_process() noexcept;
  /// Those that are not in the process yet though the VLAN is. Throws the first failure in the end.
  void bring_in_all();
  /// Into the process, because of `why`. Throws if that fails: the VLAN is in the kernel still, or
  /// in the process but for some interfaces, which are tried again at the next change.
  void divert(const std::string& why);

  asio::any_io_executor loop_;
  SegmentSetup setup_;
  bool in_kernel_;
  Rules rules_;
  std::optional<Bridge> bridge_;
  Switch switch_;
  std::vector<std::unique_ptr<VdeListener>> vde_;
  std::map<Member, Interface> interfaces_;
  std::set<Member> no_carrier_;  ///< whose interfaces are down
  std::optional<KernelRules> shaping_;
};

}  // namespace attest::net
