// Faults as plain data: from the groups and links that a test names to what each adds to the rules
// of which VLAN. Pure.
#pragma once
#include "lib/net/plan.h"
#include "lib/net/rules.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace attest::net {

/// What one fault does on one VLAN.
struct FaultPart {
  int vlan = 1;
  std::vector<std::pair<Member, Member>> cuts;  ///< nothing of the first reaches the second
  Member shaped = 0;                            ///< whose link `impairment` is for; 0: nobody's
  Direction direction = Direction::both;
  Impairment impairment;
  bool operator==(const FaultPart&) const = default;
};

/// A fault; on VLANs in ascending order.
using FaultPlan = std::vector<FaultPart>;

/// Adds one fault to the rules of `vlan`.
void add_to(Rules& rules, const FaultPlan& fault, int vlan);
/// Whether frames are chosen at random, so that the seed matters.
bool has_choices(const FaultPlan& fault);

/// The VLAN of `machine`'s link: `vlan`, or with 0 the first that it is on. Throws as the others.
int vlan_of_link(const Plan& plan, std::string_view machine, int vlan);
/// Throws Error{usage} with the VLANs that there are.
void check_vlan(const Plan& plan, int vlan);

// All throw Error{usage}, Error{unsupported} as attest::Network says. The test process is on every
// VLAN of the plan.
FaultPlan impair(const Plan& plan, std::string_view machine, int vlan, const Impairment& impairment,
                 Direction direction);
/// A loss of everything on that link, so that it holds against members that come later, too.
FaultPlan cut(const Plan& plan, std::string_view machine, int vlan, Direction direction);
FaultPlan partition(const Plan& plan, const Network::Group& one, const Network::Group& other,
                    const PartitionOptions& options);
/// From all that are members now. With one_way, what `member` sends is lost.
FaultPlan isolate(const Plan& plan, std::string_view member, const PartitionOptions& options);
/// Each reaches as many neighbours at either side of the ring, in both ways: 1 of five, 2 of six to
/// nine, 3 of ten to thirteen; in general a quarter, rounded so that with itself it is a majority.
FaultPlan majority_ring(const Plan& plan, const Network::Group& members,
                        const PartitionOptions& options);
FaultPlan bridge(const Plan& plan, const Network::Group& one, std::string_view middle,
                 const Network::Group& other, const PartitionOptions& options);

}  // namespace attest::net
