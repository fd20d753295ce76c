// The fixture of the contract suite: each sentence that DESIGN says about commands, failures
// and lifetimes, on every backend. A new backend adds its name here and must pass all of it.
#pragma once
#include <attest/gtest.h>

#include <chrono>
#include <string>

namespace attest {

using namespace std::chrono_literals;

class Contract : public TestOn {
 public:
  Config config() const override {
    Config config;
    config.name = "contract";
    config.machines["alpha"].env = {{"FROM_CONFIG", "a value"}};
    config.machines["beta"];
    return config;
  }

 protected:
  Machine& alpha() { return machine("alpha"); }
  Machine& beta() { return machine("beta"); }
};

/// The text of the Error that `call` throws, with its kind; fails the test if it throws none.
template <class Call>
std::string error_of(Error::Kind kind, Call call) {
  try {
    call();
  } catch (const Error& e) {
    EXPECT_EQ(static_cast<int>(e.kind()), static_cast<int>(kind)) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

}  // namespace attest

#define ATTEST_CONTRACT_BACKENDS attest::backends("loopback", "qemu"), attest::BackendName()
