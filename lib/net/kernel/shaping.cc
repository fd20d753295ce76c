#include "lib/net/kernel/shaping.h"

#include "attest/error.h"
#include "lib/net/plan.h"

#include <algorithm>

namespace attest::net {
namespace {

bool same(const Interface& one, const Interface& other) {
  return one.index == other.index && one.mtu == other.mtu;
}

// How long a frame may wait after its impairment has ended. The rate's queue empties at once then.
std::chrono::microseconds longest_wait(const Impairment& impairment) {
  std::chrono::microseconds held{impairment.reorder > 0 ? 5000 : 0};
  return impairment.delay + impairment.jitter + held;
}

}  // namespace

// The switch's side of a port: what goes out by it goes to the member. The bridge as an interface
// is the test process' own side.
bool KernelRules::by_ifb(const Link& link) const noexcept {
  return (link.first == test_process_node) == (link.second == Way::to_member);
}

const std::string* KernelRules::name_of(Member member,
                                        const std::map<Member, std::string>& ports) const {
  if (member == test_process_node) return &bridge_;
  auto port = ports.find(member);
  return port == ports.end() ? nullptr : &port->second;
}

void KernelRules::apply(const Rules& rules, const std::map<Member, std::string>& ports) {
  std::map<Link, const Impairment*> wanted;
  for (auto& [member, impairment] : rules.all_to()) wanted[{member, Way::to_member}] = &impairment;
  for (auto& [member, impairment] : rules.all_from())
    wanted[{member, Way::from_member}] = &impairment;
  std::vector<NftBlocks::Pair> pairs;
  if (rules.blocks_any()) {
    std::map<Member, std::string> all(ports);
    all[test_process_node] = bridge_;
    for (auto& [from, out_of] : all)
      for (auto& [to, into] : all)
        if (rules.blocks(from, to)) pairs.emplace_back(out_of, into);
  }
  try {
    blocks_.set(pairs);
    for (auto& [link, impairment] : wanted)
      if (auto* name = name_of(link.first, ports)) shape(link, *name, *impairment);
    for (auto link = links_.begin(); link != links_.end();) {
      if (!wanted.count(link->first)) heal(link->second);
      bool done = link->second.impairment == Impairment{} && Clock::now() >= link->second.empty;
      if (done) remove(link->second);
      link = done ? links_.erase(link) : std::next(link);
    }
  } catch (...) {
    clear();
    throw;
  }
}

void KernelRules::shape(const Link& link, const std::string& name, const Impairment& impairment) {
  auto port = qdiscs_.find(name);
  auto there = links_.find(link);
  if (there != links_.end() && !(port && same(there->second.port, *port))) {
    remove(there->second);
    remove_ifb(there->second.ifb);
    links_.erase(there);
    there = links_.end();
  }
  if (!port) return;
  if (there == links_.end()) there = links_.emplace(link, make_queues(link, name, *port)).first;
  auto& queues = there->second;
  if (queues.impairment == impairment) return;
  Interface device = *port;
  device.index = queues.device;
  bool fresh = queues.impairment == Impairment{} && queues.empty == Clock::time_point{};
  qdiscs_.shape(queues.ifb.empty() ? name : queues.ifb, device, impairment);
  // After its queues are there: frames never pass by an ifb that only holds them up.
  if (fresh && !queues.ifb.empty()) qdiscs_.redirect(name, port->index, queues.device);
  queues.impairment = impairment;
}

KernelRules::Queues KernelRules::make_queues(const Link& link, const std::string& name,
                                             const Interface& port) {
  Queues queues{.port = port, .device = port.index};
  if (!by_ifb(link)) return queues;
  // An index is given once in a namespace, so nobody else's ifb has that name.
  queues.ifb = "ifb-" + std::to_string(port.index);
  auto ifb = qdiscs_.find(queues.ifb);
  if (!ifb) {
    qdiscs_.make_ifb(queues.ifb, port.group);
    ifbs_.push_back(queues.ifb);
    ifb = qdiscs_.find(queues.ifb);
  }
  if (!ifb)
    throw Error(Error::Kind::host, "impairing what comes from '" + name + "': its interface '" +
                                       queues.ifb + "' is gone again");
  queues.device = ifb->index;
  return queues;
}

// Frames that are under way keep their times, and those that follow do not overtake them: the
// queues stay, without doing anything, until a later call finds them empty. What can fail here is
// for want of the port, and then nothing is left to be healed.
void KernelRules::heal(Queues& queues) {
  if (queues.impairment == Impairment{}) return;
  auto wait = longest_wait(queues.impairment);
  Interface device = queues.port;
  device.index = queues.device;
  try {
    if (wait.count() > 0) qdiscs_.shape(queues.ifb, device, {});
  } catch (const Error&) {
    wait = {};
  }
  queues.impairment = {};
  queues.empty = Clock::now() + wait;
}

void KernelRules::remove(const Queues& queues) noexcept {
  if (!queues.ifb.empty()) qdiscs_.stop_redirecting(queues.port.index);
  // After that, so that nothing new is lost in it.
  qdiscs_.unshape(queues.device);
}

void KernelRules::remove_ifb(const std::string& name) noexcept {
  if (std::erase(ifbs_, name) > 0) qdiscs_.remove(name);
}

void KernelRules::clear() noexcept {
  blocks_.remove();
  for (auto& [link, queues] : links_) remove(queues);
  links_.clear();
  while (!ifbs_.empty()) remove_ifb(std::string(ifbs_.back()));
}

std::string why_not(const Rules& rules, const ShapingSupport& support) {
  if (rules.blocks_any() && !support.no_partitions.empty()) return support.no_partitions;
  if (rules.all_from().empty() && rules.all_to().empty()) return {};
  if (!support.no_impairments.empty()) return support.no_impairments;
  for (auto* links : {&rules.all_from(), &rules.all_to()})
    for (auto& [member, impairment] : *links)
      if (auto reason = why_not(impairment); !reason.empty()) return reason;
  return {};
}

}  // namespace attest::net
