#include "lib/net/rules.h"

#include "attest/error.h"

#include <fmt/format.h>

#include <algorithm>

namespace attest::net {
namespace {

double either(double one, double other) { return 1 - (1 - one) * (1 - other); }

// The lower of two limits, of which 0 is none.
template <class T>
T lower(T one, T other) {
  if (one == 0 || other == 0) return std::max(one, other);
  return std::min(one, other);
}

void add(std::map<Member, Impairment>& links, Member member, const Impairment& impairment) {
  if (impairment == Impairment{}) return;
  auto [link, fresh] = links.try_emplace(member, impairment);
  if (!fresh) link->second = combine(link->second, impairment);
}

const Impairment* find(const std::map<Member, Impairment>& links, Member member) {
  auto found = links.find(member);
  return found == links.end() ? nullptr : &found->second;
}

}  // namespace

Impairment combine(const Impairment& one, const Impairment& other) {
  return {.delay = one.delay + other.delay,
          .jitter = one.jitter + other.jitter,
          .loss = either(one.loss, other.loss),
          .duplicate = either(one.duplicate, other.duplicate),
          .reorder = either(one.reorder, other.reorder),
          .corrupt = either(one.corrupt, other.corrupt),
          .rate = lower(one.rate, other.rate),
          .mtu = lower(one.mtu, other.mtu)};
}

void check(const Impairment& impairment) {
  auto share = [](const char* name, double value) {
    if (value >= 0 && value <= 1) return;  // no number is neither
    throw Error(Error::Kind::usage, fmt::format("{} {} is no probability", name, value))
        .hint("shares are from 0 to 1: 0.1 is one frame in ten");
  };
  share("loss", impairment.loss);
  share("duplicate", impairment.duplicate);
  share("reorder", impairment.reorder);
  share("corrupt", impairment.corrupt);
  using std::chrono::microseconds;
  if (impairment.delay < microseconds(0) || impairment.jitter < microseconds(0))
    throw Error(Error::Kind::usage, "a delay and its jitter are 0 or more");
  if (impairment.delay > std::chrono::hours(1) || impairment.jitter > std::chrono::hours(1))
    throw Error(Error::Kind::usage, "a delay or its jitter is over an hour")
        .hint("cut() the link to lose everything");
  if (impairment.mtu < 0)
    throw Error(Error::Kind::usage,
                fmt::format("an MTU of {} bytes makes no sense", impairment.mtu));
}

void Rules::block(Member from, Member to) {
  blocked_.set(index(from, to));
  any_blocked_ = true;
}

void Rules::shape_from(Member member, const Impairment& impairment) {
  add(from_, member, impairment);
}

void Rules::shape_to(Member member, const Impairment& impairment) { add(to_, member, impairment); }

const Impairment* Rules::from(Member member) const { return find(from_, member); }
const Impairment* Rules::to(Member member) const { return find(to_, member); }

}  // namespace attest::net
