#include "lib/net/faults.h"

#include "attest/error.h"
#include "lib/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

namespace attest::net {
namespace {

// A member by its name, and where it is.
struct Known {
  std::string name;
  Member number = 0;
  std::vector<int> vlans;  // in the order of its list
  bool on(int vlan) const { return std::find(vlans.begin(), vlans.end(), vlan) != vlans.end(); }
};
using Group = std::vector<Known>;

Error usage(const std::string& text) { return Error(Error::Kind::usage, text); }

// "VLAN 1", "VLANs 1, 2", "no VLAN".
std::string words(const std::vector<int>& vlans) {
  if (vlans.empty()) return "no VLAN";
  std::vector<std::string> all;
  for (int vlan : vlans) all.push_back(std::to_string(vlan));
  return (vlans.size() == 1 ? "VLAN " : "VLANs ") + base::join(all, ", ");
}

void require_vlan(const Plan& plan, int vlan) {
  if (std::find(plan.vlans.begin(), plan.vlans.end(), vlan) != plan.vlans.end()) return;
  throw usage(fmt::format("there is no VLAN {}; there is: {}", vlan, words(plan.vlans)));
}

Known find(const Plan& plan, std::string_view name) {
  if (name == test_process) return {std::string(name), test_process_node, plan.vlans};
  auto node = plan.nodes.find(name);
  if (node == plan.nodes.end()) {
    std::vector<std::string> known;
    for (auto& [other, ignored] : plan.nodes) known.push_back(other);
    known.emplace_back(test_process);
    auto error = usage(fmt::format("there is no member '{}' of the networks; there are: {}", name,
                                   base::join(known, ", ")));
    if (auto advice = base::did_you_mean(name, known); !advice.empty()) error.hint(advice);
    throw error;
  }
  if (node->second.nics.empty())
    throw Error(Error::Kind::unsupported,
                fmt::format("machine '{}' joins no VLAN of ours (a host over ssh, the network "
                            "'host' or 'none', or no 'vlans')",
                            name));
  Known known{std::string(name), node->second.number, {}};
  for (auto& nic : node->second.nics) known.vlans.push_back(nic.vlan);
  return known;
}

void require_on(const Known& member, int vlan) {
  if (!member.on(vlan))
    throw usage(
        fmt::format("'{}' is not on VLAN {}, it is on {}", member.name, vlan, words(member.vlans)));
}

// The VLAN of one link: the one that is asked for, or the member's first.
int link_vlan(const Plan& plan, const Known& member, int vlan) {
  if (vlan == 0 && member.vlans.empty()) throw usage("there are no VLANs");
  if (vlan == 0) return member.vlans.front();
  require_vlan(plan, vlan);
  require_on(member, vlan);
  return vlan;
}

// Each one once, and on the VLAN that is asked for, if one is.
Group find_all(const Plan& plan, const Network::Group& names, const PartitionOptions& options) {
  if (options.vlan != 0) require_vlan(plan, options.vlan);
  if (names.empty()) throw usage("a group has no members");
  Group group;
  for (auto& name : names) {
    group.push_back(find(plan, name));
    if (std::count(names.begin(), names.end(), name) > 1)
      throw usage(fmt::format("'{}' is in the group twice", name));
    if (options.vlan != 0) require_on(group.back(), options.vlan);
  }
  return group;
}

std::vector<int> concerned(const Plan& plan, const PartitionOptions& options) {
  return options.vlan == 0 ? plan.vlans : std::vector<int>{options.vlan};
}

std::string places(const Group& group) {
  std::vector<std::string> all;
  for (auto& member : group) all.push_back("'" + member.name + "' is on " + words(member.vlans));
  return base::join(all, ", ");
}

Error never_meet(const Group& one, const Group& other) {
  return usage("the groups meet on no VLAN: " + places(one) + "; " + places(other))
      .hint("nothing passes between them anyway");
}

// Whether `from` and `to` are to be separated, so far as both are on a VLAN.
FaultPlan separate(const Plan& plan, const Group& from, const Group& to,
                   const PartitionOptions& options) {
  FaultPlan fault;
  for (int vlan : concerned(plan, options)) {
    FaultPart part{.vlan = vlan, .cuts = {}, .impairment = {}};
    for (auto& a : from)
      for (auto& b : to) {
        if (!a.on(vlan) || !b.on(vlan)) continue;
        part.cuts.emplace_back(a.number, b.number);
        if (!options.one_way) part.cuts.emplace_back(b.number, a.number);
      }
    if (!part.cuts.empty()) fault.push_back(std::move(part));
  }
  if (fault.empty()) throw never_meet(from, to);
  return fault;
}

void require_apart(const Group& one, const Group& other) {
  for (auto& a : one)
    for (auto& b : other)
      if (a.number == b.number) throw usage(fmt::format("'{}' is in both groups", a.name));
}

FaultPlan on_link(const Plan& plan, std::string_view machine, int vlan,
                  const Impairment& impairment, Direction direction) {
  auto member = find(plan, machine);
  return {{.vlan = link_vlan(plan, member, vlan),
           .cuts = {},
           .shaped = member.number,
           .direction = direction,
           .impairment = impairment}};
}

}  // namespace

void add_to(Rules& rules, const FaultPlan& fault, int vlan) {
  for (auto& part : fault) {
    if (part.vlan != vlan) continue;
    for (auto& [from, to] : part.cuts) rules.block(from, to);
    if (part.shaped == 0) continue;
    if (part.direction != Direction::to_machine) rules.shape_from(part.shaped, part.impairment);
    if (part.direction != Direction::from_machine) rules.shape_to(part.shaped, part.impairment);
  }
}

bool has_choices(const FaultPlan& fault) {
  auto open = [](double share) { return share > 0 && share < 1; };
  return std::any_of(fault.begin(), fault.end(), [&](const FaultPart& part) {
    auto& link = part.impairment;
    return open(link.loss) || open(link.duplicate) || open(link.reorder) || link.corrupt > 0 ||
           link.jitter > std::chrono::microseconds(0);
  });
}

int vlan_of_link(const Plan& plan, std::string_view machine, int vlan) {
  return link_vlan(plan, find(plan, machine), vlan);
}

void check_vlan(const Plan& plan, int vlan) { require_vlan(plan, vlan); }

FaultPlan impair(const Plan& plan, std::string_view machine, int vlan, const Impairment& impairment,
                 Direction direction) {
  check(impairment);
  return on_link(plan, machine, vlan, impairment, direction);
}

FaultPlan cut(const Plan& plan, std::string_view machine, int vlan, Direction direction) {
  Impairment all;
  all.loss = 1;
  return on_link(plan, machine, vlan, all, direction);
}

FaultPlan partition(const Plan& plan, const Network::Group& one, const Network::Group& other,
                    const PartitionOptions& options) {
  auto from = find_all(plan, one, options), to = find_all(plan, other, options);
  require_apart(from, to);
  return separate(plan, from, to, options);
}

FaultPlan isolate(const Plan& plan, std::string_view member, const PartitionOptions& options) {
  auto alone = find_all(plan, {std::string(member)}, options);
  Group others;
  auto add = [&](std::string_view name) {
    if (name != member) others.push_back(find(plan, name));
  };
  for (auto& [name, node] : plan.nodes)
    if (!node.nics.empty()) add(name);
  add(test_process);
  return separate(plan, alone, others, options);
}

FaultPlan majority_ring(const Plan& plan, const Network::Group& members,
                        const PartitionOptions& options) {
  if (options.one_way)
    throw usage("a majority ring is the same in both ways, there is none with one_way");
  auto ring = find_all(plan, members, options);
  const auto count = ring.size();
  if (count < 5)
    throw usage(fmt::format("a majority ring has at least five members, not {}", count))
        .hint("with fewer, two majorities that differ are the whole or nearly so; use partition()");
  const auto reach = (count / 2 + 1) / 2;  // neighbours at each side
  FaultPlan fault;
  for (int vlan : concerned(plan, options)) {
    FaultPart part{.vlan = vlan, .cuts = {}, .impairment = {}};
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t k = 0; k < count; ++k) {
        auto steps = i > k ? i - k : k - i;
        if (std::min(steps, count - steps) <= reach) continue;  // itself, too
        if (ring[i].on(vlan) && ring[k].on(vlan))
          part.cuts.emplace_back(ring[i].number, ring[k].number);
      }
    if (!part.cuts.empty()) fault.push_back(std::move(part));
  }
  if (fault.empty()) throw usage("the ring has no two members to separate: " + places(ring));
  return fault;
}

FaultPlan bridge(const Plan& plan, const Network::Group& one, std::string_view middle,
                 const Network::Group& other, const PartitionOptions& options) {
  auto both = find_all(plan, {std::string(middle)}, options).front();
  auto from = find_all(plan, one, options), to = find_all(plan, other, options);
  require_apart(from, to);
  for (auto* group : {&from, &to})
    for (auto& member : *group)
      if (member.number == both.number)
        throw usage(fmt::format("'{}' is the middle, and in a group", both.name));
  auto fault = separate(plan, from, to, options);
  auto reached = [&](const Group& group) {
    return std::any_of(group.begin(), group.end(), [&](const Known& member) {
      return std::any_of(both.vlans.begin(), both.vlans.end(),
                         [&](int vlan) { return member.on(vlan); });
    });
  };
  if (!reached(from) || !reached(to))
    throw usage("the middle meets one of the groups on no VLAN: " + places({both}) + "; " +
                places(from) + "; " + places(to));
  return fault;
}

}  // namespace attest::net
