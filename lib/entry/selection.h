// Which tests gtest is going to run, known before it runs any.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace attest::entry {

/// gtest's filter language: `:`-separated patterns with * and ?, after the first '-' those that
/// exclude. An empty list of positive patterns means all. Pure.
bool filter_matches(std::string_view filter, std::string_view test_name);

/// What selects tests, as gtest reads it.
struct Selection {
  std::string filter = "*";
  bool also_disabled = false;  ///< --gtest_also_run_disabled_tests
  int total_shards = 1;
  int shard_index = 0;
};

/// How many of `tests` ("Suite.Name", in gtest's order) are selected. Pure.
int selected_count(const std::vector<std::string>& tests, const Selection& selection);

}  // namespace attest::entry
