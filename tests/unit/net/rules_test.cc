#include "lib/net/rules.h"

#include "attest/error.h"

#include <gmock/gmock.h>

#include <limits>

namespace attest::net {
namespace {
using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(Rules, CombinesTwoImpairmentsAsTwoLinksInARow) {
  Impairment one{.delay = 10ms, .jitter = 1ms, .loss = 0.5, .duplicate = 0.1, .rate = 1000};
  Impairment other{.delay = 5ms, .loss = 0.5, .corrupt = 0.2, .rate = 500, .mtu = 1400};
  auto both = combine(one, other);
  EXPECT_EQ(both.delay, 15ms);
  EXPECT_EQ(both.jitter, 1ms);
  EXPECT_DOUBLE_EQ(both.loss, 0.75);
  EXPECT_DOUBLE_EQ(both.duplicate, 0.1);
  EXPECT_DOUBLE_EQ(both.corrupt, 0.2);
  EXPECT_DOUBLE_EQ(both.reorder, 0);
  EXPECT_EQ(both.rate, 500u);
  EXPECT_EQ(both.mtu, 1400) << "no limit is not the lower one";
  EXPECT_EQ(combine(both, {}), both);
  EXPECT_EQ(combine({}, {}), Impairment{});
}

TEST(Rules, RefuseImpairmentsThatMakeNoSense) {
  const struct {
    Impairment impairment;
    const char* named;
  } cases[] = {
      {{.loss = 1.01}, "loss 1.01"},
      {{.loss = std::numeric_limits<double>::quiet_NaN()}, "loss"},
      {{.duplicate = -0.1}, "duplicate -0.1"},
      {{.reorder = 2}, "reorder 2"},
      {{.corrupt = 2}, "corrupt 2"},
      {{.delay = -1us}, "delay"},
      {{.jitter = -1us}, "jitter"},
      {{.delay = 61min}, "hour"},
      {{.mtu = -1}, "MTU of -1"},
  };
  for (auto& one : cases) try {
      check(one.impairment);
      ADD_FAILURE() << "accepted " << one.named;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::usage);
      EXPECT_THAT(error.what(), HasSubstr(one.named));
    }
  EXPECT_NO_THROW(check({}));
  EXPECT_NO_THROW(check({.delay = 1h, .loss = 1, .duplicate = 1, .reorder = 1, .corrupt = 1}));
}

TEST(Rules, BlockOneDirectionOfOnePair) {
  Rules rules;
  EXPECT_TRUE(rules.empty());
  EXPECT_FALSE(rules.blocks_any());
  rules.block(3, max_members - 1);
  EXPECT_TRUE(rules.blocks(3, max_members - 1));
  EXPECT_FALSE(rules.blocks(max_members - 1, 3));
  EXPECT_FALSE(rules.blocks(3, 0));
  EXPECT_TRUE(rules.blocks_any());
  EXPECT_FALSE(rules.empty());
}

TEST(Rules, ShapeEachDirectionOfALinkAndAddUp) {
  Rules rules;
  rules.shape_from(1, {.delay = 10ms});
  rules.shape_from(1, {.delay = 20ms});
  rules.shape_to(2, {.mtu = 900});
  ASSERT_NE(rules.from(1), nullptr);
  EXPECT_EQ(rules.from(1)->delay, 30ms);
  EXPECT_EQ(rules.to(1), nullptr);
  ASSERT_NE(rules.to(2), nullptr);
  EXPECT_EQ(rules.to(2)->mtu, 900);
  EXPECT_FALSE(rules.empty());
}

TEST(Rules, KeepNothingOfAnImpairmentThatDoesNothing) {
  Rules rules;
  rules.shape_from(1, {});
  EXPECT_EQ(rules.from(1), nullptr);
  EXPECT_EQ(rules, Rules{});
}

}  // namespace
}  // namespace attest::net
