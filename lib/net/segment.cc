#include "lib/net/segment.h"

#include "lib/base/sys_error.h"
#include "lib/net/kernel/netlink.h"
#include "lib/net/kernel/netns.h"
#include "lib/net/kernel/offload.h"
#include "lib/net/switching/datagram_port.h"
#include "lib/net/switching/packet_socket.h"

#include <fcntl.h>
#include <net/if.h>

#include <algorithm>
#include <utility>

namespace attest::net {
namespace {

// The pair between the bridge and the switch; "p" for the end that the switch reads.
std::string uplink(const std::string& bridge) { return bridge + "u"; }
std::string uplink_port(const std::string& bridge) { return bridge + "p"; }

base::Fd duplicate(int descriptor) {
  if (descriptor < 0) return {};
  return base::Fd(base::check(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0),
                              "duplicating a network namespace's descriptor"));
}

bool is_there(const std::string& name) { return ::if_nametoindex(name.c_str()) != 0; }

}  // namespace

Segment::Segment(asio::any_io_executor loop, SegmentSetup setup)
    : loop_(loop), setup_(std::move(setup)), in_kernel_(setup_.kernel), switch_(loop, setup_.seed) {
  if (setup_.bridge.empty()) return;
  bridge_.emplace(setup_.bridge, make_nic(setup_.vlan, test_process_node).mac, setup_.self,
                  setup_.group);
  if (!in_kernel_) connect_test_process();
}

// A bridge leaves what is plugged into it.
Segment::~Segment() { disconnect_test_process(); }

void Segment::remove_group() noexcept {
  if (bridge_) bridge_->remove_group();
}

void Segment::connect_test_process() {
  if (!setup_.self) return;
  Netlink netlink;
  auto ours = uplink(setup_.bridge), port = uplink_port(setup_.bridge);
  netlink.make_pair({.name = ours, .peer = port, .group = setup_.group, .mac = "", .bridge = ""});
  try {
    // What leaves the bridge here must be whole: no checksums left to hardware, no large segments.
    disable_offloads(ours);
    netlink.set_master(ours, setup_.bridge);
    switch_.join(make_datagram_port(loop_, open_packet_socket(port)), test_process_node);
  } catch (...) {
    netlink.remove(ours);
    throw;
  }
}

void Segment::disconnect_test_process() noexcept {
  if (!setup_.self || in_kernel_) return;
  try {
    Netlink().remove(uplink(setup_.bridge));
  } catch (const Error&) {
    // Without netlink it goes with the namespace.
  }
}

void Segment::listen_stream(const std::string& path, Member member) {
  divert("a virtual machine joins it");
  switch_.listen(path, member);
}

void Segment::listen_vde(const std::filesystem::path& dir, Member member) {
  divert("a machine with a start script joins it");
  vde_.push_back(std::make_unique<VdeListener>(
      loop_, dir, [this, member](auto port) { switch_.join(std::move(port), member); }));
}

void Segment::add_interface(const std::string& name, Member member, const std::string& far_name,
                            int far_netns) {
  Interface made{.name = name, .far_netns = duplicate(far_netns)};
  in_netns(made.far_netns, [&] { made.far_index = ::if_nametoindex(far_name.c_str()); });
  add(member, std::move(made));
}

void Segment::add_tap(const std::string& name, Member member, bool vnet_header) {
  add(member, {.name = name, .far_netns = {}, .to_cut = vnet_header});
}

void Segment::add(Member member, Interface made) {
  remove_interface(member);
  if (in_kernel_)
    Netlink().set_master(made.name, setup_.bridge);
  else
    bring_in(member, made);
  if (no_carrier_.contains(member)) Netlink().set_down(made.name);
  interfaces_.insert_or_assign(member, std::move(made));
  if (!in_kernel_ || rules_.empty()) return;
  try {
    set_rules(Rules(rules_));
  } catch (...) {
    remove_interface(member);
    throw;
  }
}

void Segment::remove_interface(Member member) noexcept {
  auto found = interfaces_.find(member);
  if (found == interfaces_.end()) return;
  if (found->second.port) switch_.leave(found->second.port);
  interfaces_.erase(found);
}

const Segment::Interface* Segment::interface_of(Member member) const {
  auto found = interfaces_.find(member);
  return found != interfaces_.end() && is_there(found->second.name) ? &found->second : nullptr;
}

// An interface that is on no bridge: the switch reads what comes in, and what the kernel itself
// would say there is silenced.
void Segment::bring_in(Member member, Interface& interface) {
  if (interface.to_cut) {
    interface.cutter = std::make_unique<Cutter>(interface.name, setup_.group);
    interface.port = switch_.join(
        make_datagram_port(loop_, open_packet_socket(interface.cutter->port())), member);
    return;
  }
  Netlink netlink;
  netlink.set_master(interface.name, "");
  netlink.quieten(interface.name);
  // The sending end decides what is left to hardware.
  if (interface.far_netns)
    in_netns(interface.far_netns, [&] {
      char name[IF_NAMESIZE];
      if (::if_indextoname(interface.far_index, name)) disable_offloads(name);
    });
  interface.port =
      switch_.join(make_datagram_port(loop_, open_packet_socket(interface.name)), member);
}

void Segment::divert(const std::string& why) {
  if (!in_kernel_) return;
  connect_test_process();
  in_kernel_ = false;
  switch_.set_rules(rules_);
  if (!interfaces_.empty())
    setup_.say("VLAN " + std::to_string(setup_.vlan) +
               " goes through the switch in this process from now on: " + why);
  // All leave the bridge before its rules end: who is kept apart must not meet meanwhile.
  Netlink netlink;
  for (auto& [member, interface] : interfaces_) try {
      if (is_there(interface.name)) netlink.set_master(interface.name, "");
    } catch (const Error&) {
      // It is tried again, and told of, in bring_in_all().
    }
  shaping_.reset();
  bring_in_all();
}

void Segment::bring_in_all() {
  std::optional<Error> failure;
  for (auto& [member, interface] : interfaces_) try {
      if (interface.port == 0 && is_there(interface.name)) bring_in(member, interface);
    } catch (Error& error) {
      error.during("moving '" + interface.name + "' of VLAN " + std::to_string(setup_.vlan) +
                   " into this process");
      if (!failure) failure = error;
    }
  if (failure) throw Error(*failure);
}

void Segment::set_rules(const Rules& rules) {
  rules_ = rules;
  if (!in_kernel_) {
    switch_.set_rules(rules);
    bring_in_all();
    return;
  }
  if (rules.empty() && !shaping_) return;
  auto reason = rules.empty() ? "" : why_not(rules, shaping_support());
  if (reason.empty()) try {
      std::map<Member, std::string> ports;
      for (auto& [member, interface] : interfaces_) ports[member] = interface.name;
      if (!shaping_) shaping_.emplace(setup_.bridge, setup_.seed);
      shaping_->apply(rules, ports);
      return;
    } catch (const Error& e) {
      reason = e.what();
    }
  divert(reason);
}

void Segment::set_carrier(Member member, bool on) {
  if (auto* found = interface_of(member)) {
    Netlink netlink;
    on ? netlink.set_up(found->name) : netlink.set_down(found->name);
  }
  if (on)
    no_carrier_.erase(member);
  else
    no_carrier_.insert(member);
}

LinkStats Segment::stats(Member member) const {
  LinkStats sum;
  if (in_kernel_) {
    auto* found = interface_of(member);
    auto name = member == test_process_node ? setup_.bridge : found ? found->name : std::string();
    if (name.empty()) return sum;
    auto counted = Netlink().counters(name);
    // The bridge itself is the test process's own card, seen from its side.
    bool own = member == test_process_node;
    sum.from_machine = own ? counted.tx_frames : counted.rx_frames;
    sum.to_machine = own ? counted.rx_frames : counted.tx_frames;
    sum.dropped = own ? counted.rx_dropped : counted.tx_dropped;
    return sum;
  }
  for (auto& port : switch_.stats().ports) {
    if (port.member != member) continue;
    sum.from_machine += port.frames_in;
    sum.to_machine += port.frames_out;
    sum.dropped += port.dropped;
    sum.faulted += port.faulted;
  }
  return sum;
}

bool Segment::has_port(Member member) const {
  auto stats = switch_.stats();
  return std::ranges::any_of(stats.ports, [&](auto& port) { return port.member == member; });
}

int Segment::watch(Watcher watcher) {
  divert("what passes is captured");
  bring_in_all();
  return switch_.watch(std::move(watcher));
}

void Segment::unwatch(int number) noexcept { switch_.unwatch(number); }

}  // namespace attest::net
