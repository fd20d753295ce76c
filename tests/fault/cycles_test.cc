// Start, a command, stop, and again: after each round as little is there as after the first. 10
// rounds in CI, 100 with ATTEST_CAMPAIGN=full.
#include "traces.h"

#include <attest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <thread>

namespace {
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class Cycles : public attest::TestOn {
 public:
  attest::Config config() const override {
    attest::Config config;
    config.machines["cyclist"].vlans = {1, 2};
    return config;
  }
};
INSTANTIATE_TEST_SUITE_P(, Cycles, attest::backends("nspawn"), attest::BackendName());

// All of the sandbox's, whose pid namespace shows no others; threads and zombies do not count.
std::set<std::string> processes() {
  std::set<std::string> all;
  for (auto& entry : std::filesystem::directory_iterator("/proc")) {
    auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    auto stat = attest_test::slurp(entry.path() / "stat");
    auto state = stat.rfind(')');
    if (state != std::string::npos && stat.compare(state + 2, 1, "Z") != 0)
      all.insert("process " + stat.substr(0, state + 1));
  }
  return all;
}

std::size_t descriptors() {
  auto all = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

long rss_kib() {
  auto status = attest_test::slurp("/proc/self/status");
  return std::stol(status.substr(status.find("VmRSS:") + 6));
}

std::set<std::string> everything() {
  auto all = attest_test::traces("/nowhere", "cyclist");
  all.merge(processes());
  return all;
}

TEST_P(Cycles, LeaveNothing) {
  const char* size = std::getenv("ATTEST_CAMPAIGN");
  int rounds = size && std::string(size) == "full" ? 100 : 10;
  auto& one = machine("cyclist");
  driver().serial_stdout_off();
  std::set<std::string> before;
  std::size_t open = 0;
  long memory = 0;
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    one.start();
    EXPECT_EQ(one.succeed("echo here"), "here\n");
    if (round % 2)
      one.shutdown();
    else
      one.crash();
    if (round == 1) {  // the VLANs' bridges and what is made once stay until the driver ends
      before = everything();
      open = descriptors();
      memory = rss_kib();
    }
    if (round < 2) continue;
    // The kernel takes a network namespace apart in the background.
    auto until = Clock::now() + 5s;
    while (!attest_test::without(everything(), before).empty() && Clock::now() < until)
      std::this_thread::sleep_for(5ms);
    EXPECT_THAT(attest_test::without(everything(), before), testing::IsEmpty());
    EXPECT_LE(descriptors(), open);
    if (HasFailure()) return;
  }
  std::cout << rounds << " rounds, " << rss_kib() - memory << " KiB more memory than after the 2nd"
            << std::endl;
}

}  // namespace
