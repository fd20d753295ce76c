#include "lib/net/kernel/shaping.h"

#include "attest/error.h"
#include "lib/net/plan.h"
#include "lib/net/switching/shaper.h"

#include <algorithm>
#include <vector>

namespace attest::net {
namespace {

bool same(const Interface& one, const Interface& other) {
  return one.index == other.index && one.mtu == other.mtu;
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
    if (by_ifb(link)) remove_ifb(link.first);
    links_.erase(there);
    there = links_.end();
  }
  if (!port) return;
  if (there == links_.end()) there = links_.emplace(link, make_queues(link, name, *port)).first;
  auto& queues = there->second;
  if (queues.impairment == impairment) return;
  Interface device = *port;
  device.index = queues.device;
  qdiscs_.shape(queues.ifb.empty() ? name : queues.ifb, device, impairment, next_seed(link));
  // After its queues are there: frames never pass by an ifb that only holds them up.
  if (!queues.in_use && !queues.ifb.empty()) qdiscs_.redirect(name, port->index, queues.device);
  queues.in_use = true;
  change(queues, impairment);
}

// Each link has a row of choices of its own. netem begins one with each setting: never the same
// again, or faults that come and go would always hit the same frames.
std::uint64_t KernelRules::next_seed(const Link& link) {
  auto number = static_cast<std::uint64_t>(link.first) << 1 | (link.second == Way::to_member);
  auto row = Dice(Dice(seed_).next() ^ number).next();
  return Dice(row ^ settings_[link]++).next();
}

void KernelRules::change(Queues& queues, const Impairment& impairment) {
  queues.empty =
      std::max(queues.empty, Clock::now() + longest_wait(queues.port, queues.impairment));
  queues.impairment = impairment;
}

KernelRules::Queues KernelRules::make_queues(const Link& link, const std::string& name,
                                             const Interface& port) {
  Queues queues{.port = port, .device = port.index};
  if (!by_ifb(link)) return queues;
  // An index is given once in a namespace, so nobody else's ifb has that name.
  queues.ifb = "ifb-" + std::to_string(port.index);
  auto had = ifbs_.find(link.first);
  if (had != ifbs_.end() && had->second != queues.ifb) remove_ifb(link.first);
  auto ifb = qdiscs_.find(queues.ifb);
  if (!ifb) {
    qdiscs_.make_ifb(queues.ifb, port.group);
    ifbs_[link.first] = queues.ifb;
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
  change(queues, {});
  if (Clock::now() >= queues.empty) return;
  Interface device = queues.port;
  device.index = queues.device;
  try {
    qdiscs_.shape(queues.ifb, device, {}, 0);
  } catch (const Error&) {
    queues.empty = {};
  }
}

void KernelRules::remove(const Queues& queues) noexcept {
  if (!queues.ifb.empty()) qdiscs_.stop_redirecting(queues.port.index);
  // After that, so that nothing new is lost in it.
  qdiscs_.unshape(queues.device);
}

void KernelRules::remove_ifb(Member member) noexcept {
  auto ifb = ifbs_.find(member);
  if (ifb == ifbs_.end()) return;
  qdiscs_.remove({ifb->second});
  ifbs_.erase(ifb);
}

void KernelRules::clear() noexcept {
  blocks_.remove();
  for (auto& [link, queues] : links_) remove(queues);
  links_.clear();
  std::vector<std::string> ifbs;
  for (auto& [member, name] : ifbs_) ifbs.push_back(name);
  qdiscs_.remove(ifbs);
  ifbs_.clear();
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
