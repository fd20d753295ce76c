#include "lib/entry/suites.h"

#include "attest/backend.h"
#include "lib/entry/settings.h"
#include "lib/entry/standard.h"

#include <gtest/gtest.h>

#include <map>

namespace attest::entry {
namespace {

std::map<std::string, Suite>& suites() {
  static std::map<std::string, Suite> all;  // by suite name and variant
  return all;
}

// Ends a suite's drivers after its last test, in the order gtest ends suites.
class SuiteEnder final : public testing::EmptyTestEventListener {
  void OnTestSuiteEnd(const testing::TestSuite& ended) override {
    std::string prefix = std::string(ended.name()) + "\n";
    auto& all = suites();
    for (auto entry = all.begin(); entry != all.end();)
      entry = entry->first.starts_with(prefix) ? all.erase(entry) : std::next(entry);
  }
};

void begin(Suite& suite, const std::function<Config()>& config, const std::string& output) {
  auto chosen = overridden(config(), settings());
  auto setup = standard_setup(output);
  setup.failed = [suite = testing::UnitTest::GetInstance()->current_test_suite()] {
    return suite->Failed();
  };
  auto headline = header(chosen, setup.backends);
  suite.driver = std::make_unique<Driver>(std::move(chosen), std::move(setup));
  say("", headline);
  if (!current_sandbox())
    say("",
        "no sandbox was entered; whatever outlives a killed test stays (link attest_gtest's main, "
        "or call attest::main)");
  for (auto& lack : suite.driver->missing()) {
    if (settings().requires_capability(lack.capability))
      throw Error(Error::Kind::host, lack.text)
          .during("checking for what ATTEST_REQUIRE names: " + lack.capability);
    suite.lacking += (suite.lacking.empty() ? "" : "; ") + lack.text;
  }
}

}  // namespace

Suite& running_suite(const std::function<Config()>& config, const std::string& variant) {
  static bool listening = [] {
    testing::UnitTest::GetInstance()->listeners().Append(new SuiteEnder);
    return true;
  }();
  static_cast<void>(listening);
  std::string name = testing::UnitTest::GetInstance()->current_test_info()->test_suite_name();
  auto [entry, fresh] = suites().try_emplace(name + "\n" + variant);
  if (fresh) {
    try {
      begin(entry->second, config, variant.empty() ? name : name + "." + variant);
    } catch (const Error& e) {
      entry->second.driver.reset();
      entry->second.failure = e;
    } catch (const std::exception& e) {  // out of the test's own config()
      entry->second.driver.reset();
      entry->second.failure =
          Error(Error::Kind::usage, std::string("making the suite's driver failed: ") + e.what());
    }
  }
  return entry->second;
}

}  // namespace attest::entry
