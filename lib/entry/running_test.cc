#include "lib/entry/running_test.h"

#include "lib/entry/artifacts.h"

#include <gtest/gtest.h>

namespace attest::entry {
namespace {

std::string running_name() {
  auto* running = testing::UnitTest::GetInstance()->current_test_info();
  return running ? std::string(running->test_suite_name()) + "." + running->name() : "";
}

}  // namespace

void use_gtest() {
  static const bool done = [] {
    RunningTest how;
    how.name = running_name;
    how.failed = [] {
      auto* unit = testing::UnitTest::GetInstance();
      // Between tests: a driver that its suite has shared ends there.
      auto* suite = unit->current_test_info() ? nullptr : unit->current_test_suite();
      return testing::Test::HasFailure() || (suite && suite->Failed());
    };
    how.record = [](const std::string& key, const std::string& value) {
      testing::Test::RecordProperty(key, value);
    };
    use_running_test(std::move(how));
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace attest::entry
