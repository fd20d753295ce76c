// Whose turn it was while a microVM started: the stand-in for Firecracker notes when something
// passes between it and its host. All the time from what it gave (a reply, bytes of the guest) to
// what came next was attest's; all other time was the monitor's and the guest's.
#include "boot.h"

#include <attest/driver.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace {

struct Passing {
  double at_ms = 0;
  bool in = false;  ///< to the monitor
};

std::vector<Passing> read_trace(const std::string& file) {
  std::vector<Passing> all;
  std::ifstream lines(file);
  long long ns = 0;
  std::string direction, what;
  while (lines >> ns >> direction && std::getline(lines, what))
    all.push_back({static_cast<double>(ns) / 1e6, direction == "in"});
  return all;
}

// From the monitor's first word (it listens) to the last answer, and on to `end_ms`, when the call
// returned with it.
double turns_ms(const std::vector<Passing>& trace, double end_ms) {
  double sum = 0;
  for (std::size_t i = 1; i < trace.size(); ++i)
    if (trace[i].in && !trace[i - 1].in) sum += trace[i].at_ms - trace[i - 1].at_ms;
  if (!trace.empty() && !trace.back().in) sum += end_ms - trace.back().at_ms;
  return sum;
}

double now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

}  // namespace

std::vector<bench::Metric> boot_sim(const std::string& work_dir, int count) {
  if (std::getenv("ATTEST_FIRECRACKER") == nullptr) {
    std::fputs(
        "boot.sim_overhead_ms is left out: set "
        "ATTEST_FIRECRACKER=build/tests/sims/sim-firecracker\n",
        stderr);
    return {};
  }
  auto file = work_dir + "/trace";
  ::setenv("ATTEST_SIM_TRACE", file.c_str(), 1);
  attest::Config config;
  auto& guest = config.machines["guest"];
  guest.backend = "firecracker";
  guest.memory_mb = 256;
  std::vector<double> whole, overhead;
  for (int i = 0; i < count; ++i) {
    std::filesystem::remove(file);
    std::unique_ptr<attest::Driver> driver;  // ended after the clock has stopped
    whole.push_back(bench::time_ms([&] {
      driver = attest::make_driver(config);
      driver->serial_stdout_off();
      driver->machine("guest").succeed("true");
    }));
    double end = now_ms();
    overhead.push_back(turns_ms(read_trace(file), end));
  }
  ::unsetenv("ATTEST_SIM_TRACE");
  return {{"boot.sim_ms", bench::median(whole), "ms", count, "start to first command"},
          {"boot.sim_overhead_ms", bench::median(overhead), "ms", count,
           "attest's turns in that; goal < 15"}};
}
