// The fixture of the contract suite: each sentence that DESIGN says about commands, failures
// and lifetimes, on every backend. A new backend adds its name here and must pass all of it.
#pragma once
#include "error_of.h"

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

}  // namespace attest

#define ATTEST_CONTRACT_BACKENDS                                                            \
  attest::backends("cloud_hypervisor", "firecracker", "loopback", "nspawn", "qemu", "ssh"), \
      attest::BackendName()
