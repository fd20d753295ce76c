// The fixture of tests that run on each microVM monitor: the stand-ins of tests/sims in the suite
// 'vm', the real ones in the suite 'kvm'.
#pragma once
#include "error_of.h"

#include <attest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>

namespace attest {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/// A directory on a disk that goes with the test: snapshots are large.
class ScratchDir {
 public:
  ScratchDir() {
    std::string made = "/var/tmp/attest-test-XXXXXX";
    if (!::mkdtemp(made.data())) throw std::runtime_error("no directory in /var/tmp");
    path_ = made;
  }
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;
  ~ScratchDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

class Monitors : public TestOn {
 public:
  Config config() const override {
    Config config;
    config.machines["alpha"].memory_mb = 256;
    return config;
  }

 protected:
  Machine& alpha() { return machine("alpha"); }
  bool on_firecracker() const { return GetParam() == "firecracker"; }
};

}  // namespace attest

#define ATTEST_MONITORS attest::backends("firecracker", "cloud_hypervisor"), attest::BackendName()
