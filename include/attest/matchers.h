// GoogleMock matchers about machines and commands, and assertions that wait. attest/gtest.h
// includes this.
#pragma once
#include "attest/command.h"
#include "attest/error.h"
#include "attest/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <ostream>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>

namespace attest {

/// The machine on which `command` exits with 0: EXPECT_THAT(web, Succeeds("curl -sf localhost")).
/// It is run once. Whatever the guest answers, also by dying or not in time, is a failed match that
/// quotes exit code and both outputs; what is wrong with the test or the host is thrown.
::testing::Matcher<const Machine&> Succeeds(std::string command, CommandOptions options = {});
/// The machine on which `command` exits with anything but 0.
::testing::Matcher<const Machine&> Fails(std::string command, CommandOptions options = {});
/// The machine whose systemd unit is in ActiveState `state` now: UnitIs("nginx.service", "active").
::testing::Matcher<const Machine&> UnitIs(std::string unit, std::string state,
                                          UnitOptions options = {});

/// The result with this exit code; a mismatch quotes both outputs.
::testing::Matcher<const CommandResult&> ExitsWith(int code);

namespace detail {
::testing::Matcher<const CommandResult&> prints(::testing::Matcher<const std::string&> text,
                                                bool error_output);
}  // namespace detail

/// The result whose stdout matches:
///     EXPECT_THAT(web.execute("id"), AllOf(ExitsWith(0), Prints(HasSubstr("root"))));
template <class M>
::testing::Matcher<const CommandResult&> Prints(M matcher) {
  return detail::prints(::testing::SafeMatcherCast<const std::string&>(std::move(matcher)), false);
}
/// The result whose stderr matches.
template <class M>
::testing::Matcher<const CommandResult&> PrintsError(M matcher) {
  return detail::prints(::testing::SafeMatcherCast<const std::string&>(std::move(matcher)), true);
}

void PrintTo(const Machine& machine, std::ostream* out);
void PrintTo(const CommandResult& result, std::ostream* out);

namespace detail {

/// The attempts of one ATTEST_EVENTUALLY: paces them, and remembers what each gave.
class Attempts {
 public:
  /// `limit` is multiplied by the timeout factor.
  explicit Attempts(std::chrono::milliseconds limit);
  Attempts(const Attempts&) = delete;
  ~Attempts();

  void note(std::string what);
  /// Rethrows what is no "not yet": all but Error{guest, timeout}.
  void note_error(const Error& error);
  /// Pauses until the next attempt; false when the time is over.
  bool again();
  /// What a failure says.
  std::string story(const std::string& expression, const std::string& expected) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

template <class Expression, class M>
::testing::AssertionResult eventually(Expression expression, const M& matcher, const char* text,
                                      std::chrono::milliseconds limit) {
  using Value = std::remove_cvref_t<decltype(expression())>;
  ::testing::Matcher<const Value&> wanted = ::testing::SafeMatcherCast<const Value&>(matcher);
  Attempts attempts(limit);
  do {
    try {
      decltype(auto) value = expression();
      ::testing::StringMatchResultListener why;
      if (wanted.MatchAndExplain(value, &why)) return ::testing::AssertionSuccess();
      std::string seen = ::testing::PrintToString(value);
      attempts.note(why.str().empty() ? seen : seen + ", " + why.str());
    } catch (const Error& error) {
      attempts.note_error(error);
    }
  } while (attempts.again());
  std::ostringstream expected;
  wanted.DescribeTo(&expected);
  return ::testing::AssertionFailure() << attempts.story(text, expected.str());
}

}  // namespace detail
}  // namespace attest

/// Evaluates `expression` again and again, on this thread, until its value matches, at least once
/// and for `limit` at most (times the timeout factor). An Error{guest} or Error{timeout} out of it
/// counts as "not yet". The failure lists the attempts with their times, and goes on (EXPECT) or
/// ends the test (ASSERT).
///     ATTEST_EVENTUALLY(web.succeed("cat /run/state"), testing::StartsWith("ready"), 30s);
#define ATTEST_EXPECT_EVENTUALLY(expression, matcher, limit)                                  \
  GTEST_AMBIGUOUS_ELSE_BLOCKER_                                                               \
  if (const ::testing::AssertionResult attest_result = ::attest::detail::eventually(          \
          [&]() -> decltype(auto) { return (expression); }, (matcher), #expression, (limit))) \
    ;                                                                                         \
  else                                                                                        \
    ADD_FAILURE() << attest_result.message()
#define ATTEST_ASSERT_EVENTUALLY(expression, matcher, limit)                                  \
  GTEST_AMBIGUOUS_ELSE_BLOCKER_                                                               \
  if (const ::testing::AssertionResult attest_result = ::attest::detail::eventually(          \
          [&]() -> decltype(auto) { return (expression); }, (matcher), #expression, (limit))) \
    ;                                                                                         \
  else                                                                                        \
    FAIL() << attest_result.message()
#define ATTEST_EVENTUALLY(expression, matcher, limit) \
  ATTEST_EXPECT_EVENTUALLY(expression, matcher, limit)
