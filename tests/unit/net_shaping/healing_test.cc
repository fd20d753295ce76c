// What outlasts an impairment: frames that wait for a rate or for their time, the interfaces that
// frames were led through, and the row of choices of a seed.
#include "bed.h"

#include <sys/utsname.h>

#include <cstdio>
#include <vector>

namespace attest::net {
namespace {
using testing::IsEmpty;
using testing::SizeIs;

class Healing : public ShapingBed {
 protected:
  void SetUp() override {
    auto& missing = shaping_support().no_impairments;
    if (!missing.empty()) GTEST_SKIP() << missing;
    ShapingBed::SetUp();
  }

  // What arrives of datagrams 0 to count - 1, as soon as all have; 10 s are enough for that.
  std::vector<int> arrived(Member at, std::size_t count) {
    std::vector<int> numbers;
    while (numbers.size() < count && stations_.at(at).hears_within(10s))
      for (auto& one : stations_.at(at).receive(0ms)) numbers.push_back(one.number);
    return numbers;
  }

  void send(Member from, Member to, int begin, int end, std::size_t size = 100) {
    for (int number = begin; number < end; ++number)
      stations_.at(from).send(stations_.at(to), number, size);
  }

  // Which of many datagrams from 1 to 2 a link of that seed loses.
  std::vector<int> lost_with(std::uint64_t seed) {
    constexpr int count = 64;
    KernelRules rules("br", seed);
    rules.apply(losing_half(), ports_);
    std::vector<bool> came(count);
    for (auto& one : sent(1, 2, count)) came.at(static_cast<std::size_t>(one.number)) = true;
    std::vector<int> lost;
    for (int number = 0; number < count; ++number)
      if (!came[static_cast<std::size_t>(number)]) lost.push_back(number);
    return lost;
  }

  // IPv6 and ARP have frames of their own now and then, which take choices away from ours. By
  // chance no two of 2^64 rows are the same.
  bool loses_the_same(std::uint64_t one, std::uint64_t other) {
    for (int attempt = 0; attempt < 5; ++attempt)
      if (lost_with(one) == lost_with(other)) return true;
    return false;
  }

  static Rules losing_half() {
    Rules rules;
    rules.shape_to(2, {.loss = 0.5});
    return rules;
  }

  static bool kernel_takes_seeds() {
    utsname name{};
    int major = 0, minor = 0;
    ::uname(&name);
    if (std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;  // NOLINT
    return major > 6 || (major == 6 && minor >= 6);
  }
};

constexpr int size = 958;  // 1000 bytes with its headers: 4 ms at 2 Mbit/s

TEST_F(Healing, OfARateLosesNothingThatWaitsForIt) {
  for (bool receiver : {true, false}) {
    SCOPED_TRACE(receiver ? "to" : "from");
    KernelRules rules("br");
    Rules slow;
    receiver ? slow.shape_to(2, {.rate = 2'000'000}) : slow.shape_from(1, {.rate = 2'000'000});
    rules.apply(slow, ports_);
    send(1, 2, 0, 20, size);  // as many as may wait, and some
    rules.apply({}, ports_);
    send(1, 2, 20, 30, size);
    auto numbers = arrived(2, 30);
    EXPECT_THAT(numbers, SizeIs(30));
    EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
    rules.apply({}, ports_);
    send(1, 2, 0, 3);
    EXPECT_THAT(arrived(2, 3), SizeIs(3));
  }
}

TEST_F(Healing, OfWhatCameAfterADelayLosesNothingThatIsLateByIt) {
  KernelRules rules("br");
  Rules late, short_ones;
  late.shape_to(2, {.delay = 500ms});
  short_ones.shape_to(2, {.mtu = 1400});
  rules.apply(late, ports_);
  send(1, 2, 0, 50);
  rules.apply(short_ones, ports_);
  rules.apply({}, ports_);
  EXPECT_THAT(arrived(2, 50), SizeIs(50));
}

TEST_F(Healing, LeavesNoInterfaceOfAPortThatIsMadeAgain) {
  KernelRules rules("br");
  Rules slow;
  slow.shape_from(1, {.loss = 0.5});
  for (int boot = 0; boot < 3; ++boot) {
    rules.apply(slow, ports_);
    EXPECT_THAT(netlink_->names("ifb-"), SizeIs(1)) << boot;
    rules.apply({}, ports_);
    netlink_->remove(ports_.at(1));
    add_machine(1);
  }
}

TEST_F(Healing, AtTheEndRemovesManyInterfacesTogether) {
  auto rules = std::make_unique<KernelRules>("br");
  Rules slow;
  for (Member member : {1, 2, 3, us}) slow.shape_from(member, {.loss = 0.5});
  for (Member member : {1, 2, 3, us}) slow.shape_to(member, {.loss = 0.5});
  rules->apply(slow, ports_);
  EXPECT_THAT(netlink_->names("ifb-"), SizeIs(4));
  auto begin = Clock::now();
  rules.reset();
  std::printf("measured: end_of_8_links_ms %.1f\n", milliseconds_of(Clock::now() - begin));
  EXPECT_THAT(netlink_->names("ifb-"), IsEmpty());
  EXPECT_TRUE(reaches(1, 2));
}

TEST_F(Healing, TheSameSeedLosesTheSameFramesWhereTheKernelTakesIt) {
  bool takes = kernel_takes_seeds();
  std::printf("measured: kernel_takes_seeds %d\n", takes);
  EXPECT_EQ(loses_the_same(1, 1), takes);
  EXPECT_FALSE(loses_the_same(1, 2));
}

TEST_F(Healing, AndApplyingAgainMakesOtherChoices) {
  KernelRules rules("br", 1);
  std::vector<std::vector<int>> came(2);
  for (auto& numbers : came) {
    rules.apply(losing_half(), ports_);
    for (auto& one : sent(1, 2, 64)) numbers.push_back(one.number);
    rules.apply({}, ports_);
  }
  EXPECT_NE(came[0], came[1]);
}

}  // namespace
}  // namespace attest::net
