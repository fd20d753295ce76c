// What faults do to one VLAN: who may not send to whom, and what each link does to frames. Pure
// values; the switch and the kernel's shaping both take them as they are.
#pragma once
#include "attest/network.h"

#include <bitset>
#include <map>

namespace attest::net {

/// A member of a VLAN, in rules: its node number; test_process_node is the test process, 0 nobody
/// that rules know.
using Member = int;
inline constexpr int max_members = 256;

/// The effect of two impairments on one link: delays and jitters add up, shares are of what the
/// other leaves, the lower rate and the lower MTU win.
Impairment combine(const Impairment& one, const Impairment& other);

/// Throws Error{usage} naming what is out of range.
void check(const Impairment& impairment);

/// The rules of one VLAN.
class Rules {
 public:
  /// Nothing of `from` reaches `to` any more.
  void block(Member from, Member to);
  /// Adds to what the link of `member` does to frames from it, and to it.
  void shape_from(Member member, const Impairment& impairment);
  void shape_to(Member member, const Impairment& impairment);

  bool blocks(Member from, Member to) const { return blocked_[index(from, to)]; }
  bool blocks_any() const noexcept { return any_blocked_; }
  /// Null: frames pass as they are.
  const Impairment* from(Member member) const;
  const Impairment* to(Member member) const;
  const std::map<Member, Impairment>& all_from() const noexcept { return from_; }
  const std::map<Member, Impairment>& all_to() const noexcept { return to_; }
  bool empty() const noexcept { return !any_blocked_ && from_.empty() && to_.empty(); }
  bool operator==(const Rules&) const = default;

 private:
  static constexpr std::size_t index(Member from, Member to) {
    return static_cast<std::size_t>(from) * max_members + static_cast<std::size_t>(to);
  }

  std::bitset<static_cast<std::size_t>(max_members) * max_members> blocked_;
  bool any_blocked_ = false;
  std::map<Member, Impairment> from_, to_;
};

}  // namespace attest::net
