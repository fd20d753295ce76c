#include "attest/gtest.h"
#include "lib/base/text.h"
#include "lib/entry/running_test.h"
#include "lib/entry/selection.h"
#include "lib/entry/settings.h"
#include "lib/entry/standard.h"

#include <cstdio>
#include <cstdlib>
#include <optional>

namespace attest {
namespace {

enum ExitCode {
  passed = 0,
  failed = 1,
  bad_usage = 2,
  none_selected = 64,
  environment = 69,
  all_skipped = 77
};

std::vector<std::string> all_tests() {
  std::vector<std::string> names;
  auto& unit = *testing::UnitTest::GetInstance();
  for (int s = 0; s < unit.total_test_suite_count(); ++s) {
    auto& suite = *unit.GetTestSuite(s);
    for (int t = 0; t < suite.total_test_count(); ++t)
      names.push_back(std::string(suite.name()) + "." + suite.GetTestInfo(t)->name());
  }
  return names;
}

int env_number(const char* name, int fallback) {
  const char* text = std::getenv(name);
  return text && *text ? std::atoi(text) : fallback;
}

int count_selected() {
  entry::Selection selection{.filter = GTEST_FLAG_GET(filter),
                             .also_disabled = GTEST_FLAG_GET(also_run_disabled_tests),
                             .total_shards = std::max(1, env_number("GTEST_TOTAL_SHARDS", 1)),
                             .shard_index = env_number("GTEST_SHARD_INDEX", 0)};
  return entry::selected_count(all_tests(), selection);
}

bool has(const std::vector<std::string>& arguments, std::string_view flag) {
  for (auto& argument : arguments)
    if (argument == flag || argument.starts_with(std::string(flag) + "=")) return true;
  return false;
}

int run_tests() {
  int status = RUN_ALL_TESTS();
  if (status != 0) return failed;
  auto& unit = *testing::UnitTest::GetInstance();
  bool skipped =
      unit.test_to_run_count() > 0 && unit.skipped_test_count() == unit.test_to_run_count();
  return skipped ? all_skipped : passed;
}

int run(int argc, char** argv) {
  std::vector<std::string> arguments(argv, argv + argc);
  entry::use_settings(entry::read_settings(
      arguments, [](const char* name) -> const char* { return std::getenv(name); }));

  // gtest wants a mutable argv; what it does not know is left alone.
  std::vector<char*> remaining;
  for (auto& argument : arguments) remaining.push_back(argument.data());
  int count = static_cast<int>(remaining.size());
  remaining.push_back(nullptr);
  bool help = has(arguments, "--help") || has(arguments, "-h");
  bool death_test_child = has(arguments, "--gtest_internal_run_death_test");
  testing::InitGoogleMock(&count, remaining.data());
  entry::use_gtest();
  if (help) {
    auto text = entry::flags_help();
    std::fwrite(text.data(), 1, text.size(), stdout);
    return RUN_ALL_TESTS();
  }
  // Nothing is forked or unshared where nothing runs, nor in a death test's second process.
  if (GTEST_FLAG_GET(list_tests) || death_test_child) return RUN_ALL_TESTS();
  if (count_selected() == 0) {
    int status = RUN_ALL_TESTS();
    if (status != 0 || entry::settings().allow_none) return status;
    entry::say("", "no test is selected by the filter '" + GTEST_FLAG_GET(filter) +
                       "' (--attest_allow_none makes this a success)");
    return none_selected;
  }
  // A bad file ends here, with 2. Without one the machines come from the fixtures, which alone can
  // tell what --attest_set means for them.
  if (!entry::settings().config.empty())
    entry::overridden(entry::configured(entry::settings()), entry::settings());

  std::optional<Sandbox> sandbox;
  try {
    sandbox = enter_sandbox({.mode = entry::settings().sandbox, .needs_network = false});
  } catch (const Error& e) {
    entry::say("", std::string("the tests cannot run here: ") + e.what());
    return environment;
  }
  if (!sandbox->sentence.empty()) entry::say("", sandbox->sentence);
  return run_tests();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const Error& e) {
    entry::say("", e.what());
    return bad_usage;
  }
}

}  // namespace attest
