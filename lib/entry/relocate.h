// Gives an attest::Error that leaves a test body its place in the test.
#pragma once
#include <gtest/gtest.h>

namespace attest::entry {

/// While it lives, gtest's report of an exception that left a test body is turned into a failure
/// at the file and line that the Error carries, in terminal and XML; without it gtest says
/// "unknown file". All else passes unchanged. Base class: gtest's own reporter that
/// delegates to whichever was there before, as EXPECT_NO_FATAL_FAILURE uses it.
class ErrorRelocator final : public ::testing::internal::HasNewFatalFailureHelper {
 public:
  /// `running` gives the place of an Error that carries none. It is asked for here because gtest
  /// reports under its own lock, where current_test_info() would wait for ever.
  explicit ErrorRelocator(const ::testing::TestInfo& running) : running_(running) {}
  void ReportTestPartResult(const ::testing::TestPartResult& result) override;

 private:
  const ::testing::TestInfo& running_;
};

}  // namespace attest::entry
