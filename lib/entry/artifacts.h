// Where artifacts go, and who is told; gtest's part of it is put in by whoever has gtest.
#pragma once
#include <functional>
#include <string>

namespace attest::entry {

/// What a test framework knows.
struct RunningTest {
  /// "Suite.Test" of the running test; "" outside of one. Any thread.
  std::function<std::string()> name = [] { return std::string(); };
  /// Whether it has failed so far. Any thread.
  std::function<bool()> failed = [] { return false; };
  /// Puts a property into its report.
  std::function<void(const std::string& key, const std::string& value)> record = [](auto&, auto&) {
  };
};

/// RunningTest::failed, as it was put in.
bool running_test_failed();

/// Before the first artifact; not while another thread makes one.
void use_running_test(RunningTest how);

}  // namespace attest::entry
