// The text of the Error that a call must end with, for tests of what attest says.
#pragma once
#include <attest/error.h>

#include <gtest/gtest.h>

#include <string>

namespace attest {

/// The text of the Error that `call` throws; fails the test and is empty if it throws none.
template <class Call>
std::string error_of(Call&& call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return {};
}

/// The same, and fails the test if the Error is not of this kind.
template <class Call>
std::string error_of(Error::Kind kind, Call&& call) {
  return error_of([&] {
    try {
      call();
    } catch (const Error& e) {
      EXPECT_EQ(static_cast<int>(e.kind()), static_cast<int>(kind)) << e.what();
      throw;
    }
  });
}

}  // namespace attest
