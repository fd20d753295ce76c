#include "lib/net/kernel/shaping.h"

#include <gmock/gmock.h>

namespace attest::net {
namespace {
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;

const ShapingSupport nothing{.no_partitions = "no nf_tables", .no_impairments = "no sch_netem"};

TEST(WhyNot, NothingIsNeededForNoRules) { EXPECT_THAT(why_not(Rules{}, nothing), IsEmpty()); }

TEST(WhyNot, NamesWhatTheKernelHasNotAndTheRulesNeed) {
  Rules blocking, impairing;
  blocking.block(1, 2);
  impairing.shape_to(1, {.loss = 0.5});
  EXPECT_EQ(why_not(blocking, nothing), "no nf_tables");
  EXPECT_EQ(why_not(impairing, nothing), "no sch_netem");
  EXPECT_THAT(why_not(blocking, {.no_impairments = "no sch_netem"}), IsEmpty());
  EXPECT_THAT(why_not(impairing, {.no_partitions = "no nf_tables"}), IsEmpty());
}

struct ExactCase {
  const char* name;
  Impairment impairment;
  const char* reason;  // a part of it; "": none
};
class Exactness : public testing::TestWithParam<ExactCase> {};

TEST_P(Exactness, IsSaidInEitherDirection) {
  Rules to, from;
  to.shape_to(1, GetParam().impairment);
  from.shape_from(254, GetParam().impairment);
  for (auto* rules : {&to, &from}) {
    auto reason = why_not(*rules, ShapingSupport{});
    if (*GetParam().reason)
      EXPECT_THAT(reason, HasSubstr(GetParam().reason));
    else
      EXPECT_THAT(reason, IsEmpty());
  }
}

INSTANTIATE_TEST_SUITE_P(
    , Exactness,
    testing::Values(ExactCase{"delay_and_jitter", {.delay = 50ms, .jitter = 60ms}, ""},
                    ExactCase{"much_jitter", {.delay = 5s, .jitter = 3s}, "2 s"},
                    ExactCase{"loss_and_corruption", {.loss = 0.9, .corrupt = 0.9}, ""},
                    ExactCase{"all_lost", {.loss = 1, .duplicate = 1}, ""},
                    ExactCase{"all_twice", {.duplicate = 1}, ""},
                    ExactCase{"some_lost_some_twice", {.loss = 0.1, .duplicate = 0.2}, ""},
                    ExactCase{
                        "half_lost_all_twice", {.loss = 0.5, .duplicate = 1}, "lose and repeat"},
                    ExactCase{"rate_and_mtu", {.rate = 1'000'000, .mtu = 1000}, ""},
                    ExactCase{"rate_and_delay", {.delay = 10ms, .rate = 8}, ""},
                    ExactCase{"reorder_and_loss", {.loss = 0.1, .reorder = 0.1}, ""},
                    ExactCase{"reorder_and_delay", {.delay = 1ms, .reorder = 0.1}, "overtakes"},
                    ExactCase{"reorder_and_rate", {.reorder = 0.1, .rate = 1000}, "overtakes"}),
    [](const auto& row) { return row.param.name; });

TEST(NetemShares, GiveTheSharesThatWereAskedFor) {
  for (double loss : {0.0, 0.01, 0.1})
    for (double duplicate : {0.0, 0.01, 0.1, 0.3}) {
      SCOPED_TRACE(testing::Message() << loss << " lost, " << duplicate << " twice");
      auto told = netem_shares(loss, duplicate);
      ASSERT_TRUE(told);
      EXPECT_NEAR(told->loss * (1 - told->duplicate), loss, 1e-6);
      EXPECT_NEAR(told->duplicate * (1 - told->loss) * (1 - told->loss), duplicate * (1 - loss),
                  1e-6);
    }
}

}  // namespace
}  // namespace attest::net
