// retry(): what counts as "not yet", and what its failure says.
#include "attest/retry.h"
#include "attest/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace attest {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

TEST(Retry, ReturnsAtTheFirstSuccess) {
  int calls = 0;
  retry([&] { return ++calls == 3; }, {.delay = 1ms});
  EXPECT_EQ(calls, 3);
}

TEST(Retry, TriesOnceEvenWithoutTime) {
  int calls = 0;
  retry([&] { return ++calls == 1; }, {.timeout = 0ms});
  EXPECT_EQ(calls, 1);
}

TEST(Retry, SaysWhatDidNotComeTrueAndQuotesTheLastError) {
  try {
    retry([]() -> bool { throw Error(Error::Kind::guest, "not there yet"); },
          {.timeout = 20ms, .delay = 5ms, .what = "the cluster's quorum"});
    FAIL() << "it returned";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Error::Kind::timeout);
    EXPECT_GT(e.where().line(), 0u);
    EXPECT_THAT(e.what(), AllOf(HasSubstr("the cluster's quorum did not come true"),
                                HasSubstr("attempts)"), HasSubstr("not there yet")));
  }
}

TEST(Retry, AUsageErrorAndForeignExceptionsEndItAtOnce) {
  int calls = 0;
  auto usage = [&]() -> bool {
    ++calls;
    throw Error(Error::Kind::usage, "a typo");
  };
  EXPECT_THROW(retry(usage), Error);
  auto foreign = [&]() -> bool {
    ++calls;
    throw std::runtime_error("else");
  };
  EXPECT_THROW(retry(foreign), std::runtime_error);
  EXPECT_EQ(calls, 2);
}

TEST(Retry, AnEndlessTimeoutDoesNotPassAtOnce) {
  int calls = 0;
  retry([&] { return ++calls == 2; }, {.timeout = std::chrono::milliseconds::max(), .delay = 1ms});
  EXPECT_EQ(calls, 2);
}

TEST(Retry, EndsAfterSoManyAttempts) {
  int calls = 0;
  auto text = std::string();
  try {
    retry([&] { return ++calls == 0; }, {.attempts = 3, .delay = 1ms, .growing = false});
  } catch (const Error& e) {
    text = e.what();
  }
  EXPECT_EQ(calls, 3);
  EXPECT_THAT(text, testing::HasSubstr("(3 attempts)"));
}

}  // namespace
}  // namespace attest
