// The drivers of the suites that are running.
#pragma once
#include "attest/driver.h"
#include "attest/error.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace attest::entry {

/// One suite's driver, or why there is none.
struct Suite {
  std::unique_ptr<Driver> driver;
  std::optional<Error> failure;  ///< making it failed; every test of the suite fails with this
  std::string lacking;           ///< this host cannot run it: every test is skipped with this
};

/// The suite of the running test, made with `config` at its first call. gtest's thread only.
Suite& running_suite(const std::function<Config()>& config, const std::string& variant);

}  // namespace attest::entry
