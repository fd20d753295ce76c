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

// All throw Error{usage} as attest::Network says.
FaultPlan impair(const Plan& plan, std::string_view machine, int vlan, const Impairment& impairment,
                 Direction direction);
FaultPlan cut(const Plan& plan, std::string_view machine, int vlan, Direction direction);
FaultPlan partition(const Plan& plan, const Network::Group& one, const Network::Group& other,
                    const PartitionOptions& options);
FaultPlan isolate(const Plan& plan, std::string_view member, const PartitionOptions& options);
FaultPlan majority_ring(const Plan& plan, const Network::Group& members,
                        const PartitionOptions& options);
FaultPlan bridge(const Plan& plan, const Network::Group& one, std::string_view middle,
                 const Network::Group& other, const PartitionOptions& options);

}  // namespace attest::net
