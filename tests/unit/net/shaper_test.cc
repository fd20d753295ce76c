#include "lib/net/switching/shaper.h"

#include "tests/unit/net/peer.h"

#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <set>

namespace attest::net {
namespace {
using namespace std::chrono_literals;

const Shaper::Time start = Shaper::Time(1h);
// 1514 bytes, as a guest with an MTU of 1500 sends.
const std::string full = frame(2, 1, std::string(1500, 'x'));

Shaper shaper(const Impairment& impairment, std::uint64_t seed = 1) {
  Shaper made(seed, 1, Direction::from_machine);
  made.set(impairment);
  return made;
}

TEST(Dice, ThrowsTheSameEverywhere) {
  Dice dice(0);  // the reference values of splitmix64
  EXPECT_EQ(dice.next(), 0xe220a8397b1dcdafu);
  EXPECT_EQ(dice.next(), 0x6e789e6aa1b965f4u);
  EXPECT_EQ(dice.next(), 0x06c45d188009454fu);
}

TEST(Dice, HitsNeverAtZeroAndAlwaysAtOne) {
  Dice dice(5);
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_FALSE(dice.hit(0));
    ASSERT_TRUE(dice.hit(1));
    ASSERT_LT(dice.below(3), 3u);
  }
}

TEST(Shaper, PassesEverythingAtOnceThatItDoesNothingTo) {
  auto link = shaper({});
  for (int i = 0; i < 100; ++i) {
    auto passage = link.pass(full, start);
    ASSERT_STREQ(passage.fault, "");
    ASSERT_EQ(passage.copies, 1);
    ASSERT_EQ(passage.at[0], start);
    ASSERT_EQ(passage.flip_mask, 0);
  }
  EXPECT_EQ(link.waiting(), 0u);
}

TEST(Shaper, TakesItsShareOfTwentyThousandFrames) {
  const int frames = 20'000;
  const struct {
    const char* name;
    Impairment impairment;
    double share;
  } cases[] = {
      {"loss", {.loss = 0.1}, 0.1},       {"duplicate", {.duplicate = 0.25}, 0.25},
      {"corrupt", {.corrupt = 0.5}, 0.5}, {"reorder", {.reorder = 0.02}, 0.02},
      {"no loss", {.duplicate = 1}, 1},
  };
  for (auto& one : cases) {
    auto link = shaper(one.impairment);
    int hits = 0;
    for (int i = 0; i < frames; ++i) {
      auto passage = link.pass(full, start);
      bool hit = *passage.fault || passage.copies == 2 || passage.flip_mask != 0;
      hit = hit || (passage.copies == 1 && passage.at[0] != start);
      hits += hit ? 1 : 0;
    }
    EXPECT_NEAR(static_cast<double>(hits) / frames, one.share, 0.01) << one.name;
  }
}

TEST(Shaper, MakesTheSameChoicesForTheSameSeedAndOthersForAnother) {
  auto choices = [](Shaper link) {
    std::string made;
    for (int i = 0; i < 1000; ++i) made += *link.pass(full, start).fault ? 'x' : '.';
    return made;
  };
  Impairment half{.loss = 0.5};
  EXPECT_EQ(choices(shaper(half, 7)), choices(shaper(half, 7)));
  std::set<std::string> all{choices(shaper(half, 7)), choices(shaper(half, 8))};
  Shaper other_way(7, 1, Direction::to_machine), other_link(7, 2, Direction::from_machine);
  other_way.set(half);
  other_link.set(half);
  all.insert(choices(other_way));
  all.insert(choices(other_link));
  EXPECT_EQ(all.size(), 4u);
}

TEST(Shaper, ChoosesForEachFrameWhateverTimeTookAwayBefore) {
  auto slow = shaper({.loss = 0.5, .rate = 1'000'000}), fast = shaper({.loss = 0.5});
  int rate = 0;
  for (int i = 0; i < 1000; ++i) {
    std::string by_slow = slow.pass(full, start).fault, by_fast = fast.pass(full, start).fault;
    if (by_slow == "rate") ++rate;
    ASSERT_EQ(by_slow == "loss", by_fast == "loss") << i;
  }
  EXPECT_GT(rate, 100);
}

TEST(Shaper, LetsFramesOfTheMtuPassAndNoLonger) {
  const struct {
    std::string frame;
    const char* fault;
  } cases[] = {
      {frame(2, 1, std::string(1000, 'x')), ""},
      {frame(2, 1, std::string(1001, 'x')), "mtu"},
      {frame(2, 1, std::string(1000, 'x'), 5), ""},
      {frame(2, 1, std::string(1001, 'x'), 5), "mtu"},
  };
  auto link = shaper({.mtu = 1000});
  for (auto& one : cases)
    EXPECT_STREQ(link.pass(one.frame, start).fault, one.fault) << one.frame.size();
}

TEST(Shaper, DelaysEachFrameByTheSame) {
  auto link = shaper({.delay = 50ms});
  EXPECT_EQ(link.pass(full, start).at[0], start + 50ms);
  EXPECT_EQ(link.pass(full, start + 1ms).at[0], start + 51ms);
  EXPECT_EQ(link.waiting(), 2 * full.size());
  link.went_on(full.size());
  EXPECT_EQ(link.waiting(), full.size());
}

TEST(Shaper, SpreadsJitterEvenlyAroundTheDelay) {
  auto link = shaper({.delay = 20ms, .jitter = 10ms});
  double sum = 0;
  Shaper::Time now = start;
  auto least = 1000ms * 1.0, most = 0ms * 1.0;
  for (int i = 0; i < 10'000; ++i, now += 1s) {
    std::chrono::duration<double, std::milli> wait = link.pass(full, now).at[0] - now;
    least = std::min(least, wait);
    most = std::max(most, wait);
    sum += wait.count();
    link.went_on(full.size());
  }
  EXPECT_GE(least, 10ms);
  EXPECT_LE(most, 30ms);
  EXPECT_LT(least, 10.1ms);
  EXPECT_GT(most, 29.9ms);
  EXPECT_NEAR(sum / 10'000, 20, 0.5);
}

TEST(Shaper, KeepsTheOrderInSpiteOfJitterAndNeverDelaysByLessThanNothing) {
  auto link = shaper({.delay = 5ms, .jitter = 20ms});
  Shaper::Time last{};
  for (int i = 0; i < 1000; ++i) {
    auto now = start + i * 1ms;
    auto at = link.pass(full, now).at[0];
    ASSERT_GE(at, now);
    ASSERT_GE(at, last);
    last = at;
  }
}

TEST(Shaper, LetsOthersOvertakeTheFramesThatItReorders) {
  auto link = shaper({.delay = 10ms, .reorder = 0.3});
  int late = 0;
  for (int i = 0; i < 1000; ++i) {
    auto now = start + i * 1ms;
    auto wait = link.pass(full, now).at[0] - now;
    if (wait == 15ms)
      ++late;
    else
      ASSERT_EQ(wait, 10ms) << "one that was held back held up the next";
  }
  EXPECT_NEAR(late, 300, 60);
}

TEST(Shaper, SpacesFramesByTheRateAndDropsWhatWouldWaitTooLong) {
  // 1514 bytes take 1.514 ms at 8 Mbit/s.
  auto link = shaper({.rate = 8'000'000});
  int sent = 0;
  for (int i = 0; i < 200; ++i) {
    auto passage = link.pass(full, start);
    if (passage.copies == 0) {
      ASSERT_STREQ(passage.fault, "rate");
      continue;
    }
    ++sent;
    ASSERT_EQ(passage.at[0], start + sent * 1514us);
  }
  EXPECT_EQ(sent, 67) << "those of 100 ms, and one that begins before they end";
  EXPECT_EQ(link.pass(full, start + 1s).at[0], start + 1s + 1514us) << "an idle wire saves nothing";
}

TEST(Shaper, LetsOneFramePassHoweverLowTheRate) {
  auto link = shaper({.rate = 100});
  EXPECT_EQ(link.pass(full, start).copies, 1);
  EXPECT_STREQ(link.pass(full, start).fault, "rate");
}

TEST(Shaper, FlipsOneBitBehindTheHeader) {
  for (int tag : {0, 5}) {
    auto link = shaper({.corrupt = 1});
    auto original = frame(2, 1, "payload", tag);
    auto header = original.size() - 7;
    std::set<std::string> seen;
    for (int i = 0; i < 2000; ++i) {
      auto changed = flipped(encode_frame(original), link.pass(original, start));
      changed.erase(0, length_bytes);
      ASSERT_EQ(changed.size(), original.size());
      ASSERT_EQ(changed.substr(0, header), original.substr(0, header));
      int bits = 0;
      for (std::size_t k = 0; k < changed.size(); ++k)
        bits += std::popcount(static_cast<unsigned char>(changed[k] ^ original[k]));
      ASSERT_EQ(bits, 1);
      seen.insert(changed);
    }
    EXPECT_EQ(seen.size(), 7u * 8) << "each bit has its turn";
  }
}

TEST(Shaper, LeavesAFrameWithoutPayloadAsItIs) {
  auto link = shaper({.corrupt = 1});
  auto passage = link.pass(frame(2, 1, ""), start);
  EXPECT_EQ(passage.copies, 1);
  EXPECT_EQ(passage.flip_mask, 0);
}

TEST(Shaper, DelaysBothCopiesOfADuplicate) {
  auto link = shaper({.delay = 10ms, .jitter = 5ms, .duplicate = 1});
  auto passage = link.pass(full, start);
  EXPECT_EQ(passage.copies, 2);
  EXPECT_GE(passage.at[0], start + 5ms);
  EXPECT_GE(passage.at[1], passage.at[0]);
  EXPECT_EQ(link.waiting(), 2 * full.size());
}

TEST(Shaper, BoundsWhatWaits) {
  for (bool limited : {false, true}) {
    Impairment impairment{.delay = 10s};
    if (limited) impairment.rate = 100'000'000'000;
    auto link = shaper(impairment);
    const char* fault = "";
    while (!*fault) fault = link.pass(full, start).fault;
    EXPECT_STREQ(fault, limited ? "rate" : "delay");
    EXPECT_LE(link.waiting(), Shaper::max_waiting);
    EXPECT_GT(link.waiting(), Shaper::max_waiting - full.size());
    link.went_on(full.size());
    EXPECT_STREQ(link.pass(full, start).fault, "") << "there is room again";
  }
}

TEST(Shaper, GoesOnWithItsChoicesAndItsClockWhenItIsSetAgain) {
  auto whole = shaper({.loss = 0.5}), changed = shaper({.loss = 0.5});
  for (int i = 0; i < 100; ++i) {
    if (i == 50) changed.set({.loss = 0.5, .mtu = 9000});
    ASSERT_STREQ(whole.pass(full, start).fault, changed.pass(full, start).fault) << i;
  }
  auto slow = shaper({.rate = 8'000'000});
  slow.pass(full, start);
  slow.set({.rate = 8'000'000, .mtu = 9000});
  EXPECT_EQ(slow.pass(full, start).at[0], start + 2 * 1514us);
}

TEST(Shaper, WaitsForNothingOfALongerDelayThatWasTakenOff) {
  auto link = shaper({.delay = 10s, .loss = 0.0001});
  link.pass(full, start);
  link.set({.delay = 1ms, .loss = 0.0001});
  EXPECT_EQ(link.pass(full, start).at[0], start + 1ms);
}

}  // namespace
}  // namespace attest::net
