#include "lib/entry/selection.h"

#include <gtest/gtest.h>

namespace attest::entry {
namespace {

struct FilterCase {
  const char* name;
  const char* filter;
  const char* test;
  bool matches;
};
class Filter : public testing::TestWithParam<FilterCase> {};
TEST_P(Filter, DecidesAsGtestDoes) {
  EXPECT_EQ(filter_matches(GetParam().filter, GetParam().test), GetParam().matches);
}
INSTANTIATE_TEST_SUITE_P(
    , Filter,
    testing::Values(FilterCase{"everything", "*", "Web.Serves", true},
                    FilterCase{"exact", "Web.Serves", "Web.Serves", true},
                    FilterCase{"exact_is_whole", "Web.Serve", "Web.Serves", false},
                    FilterCase{"suite", "Web.*", "Web.Serves", true},
                    FilterCase{"one_of_two", "Db.*:Web.*", "Web.Serves", true},
                    FilterCase{"question_mark", "We?.Serves", "Web.Serves", true},
                    FilterCase{"excluded", "*-Web.*", "Web.Serves", false},
                    FilterCase{"only_exclusions", "-Web.*", "Db.Serves", true},
                    FilterCase{"star_backs_off", "*rve*s", "Web.Serves", true},
                    FilterCase{"star_needs_the_rest", "*rve*x", "Web.Serves", false},
                    FilterCase{"empty_selects_all", "", "Web.Serves", true}),
    [](const auto& row) { return row.param.name; });

TEST(SelectedCount, LeavesDisabledTestsOut) {
  std::vector<std::string> tests = {"A.One", "A.DISABLED_Two", "DISABLED_B.Three",
                                    "P/DISABLED_C.Four/0"};
  EXPECT_EQ(selected_count(tests, {}), 1);
  EXPECT_EQ(selected_count(tests, {.also_disabled = true}), 4);
}

TEST(SelectedCount, DealsTestsToShards) {
  std::vector<std::string> tests = {"A.1", "A.2", "A.3"};
  EXPECT_EQ(selected_count(tests, {.total_shards = 2, .shard_index = 0}), 2);
  EXPECT_EQ(selected_count(tests, {.total_shards = 2, .shard_index = 1}), 1);
  EXPECT_EQ(selected_count(tests, {.total_shards = 5, .shard_index = 4}), 0);
}

}  // namespace
}  // namespace attest::entry
