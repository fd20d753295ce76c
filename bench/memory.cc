// memory.rss_mb_4_machines: what attest's own processes hold while four guests run.
#include "bench.h"

#include <attest/driver.h>
#include <attest/sandbox.h>

#include <fstream>
#include <string>

#include <unistd.h>

namespace {

double status_mb(const std::string& pid, const std::string& key) {
  std::ifstream status("/proc/" + pid + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key + ":")) return std::stod(line.substr(key.size() + 1)) / 1024;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  auto sandbox = attest::enter_sandbox();
  attest::Config config;
  for (auto* name : {"a", "b", "c", "d"}) config.machines[name].memory_mb = 256;
  auto driver = attest::make_driver(config);
  driver->start_all();
  for (auto* machine : driver->machines())
    for (int i = 0; i < 20; ++i) machine->succeed("ls -la / /usr /etc");
  std::string self = std::to_string(::getpid());
  double rss = status_mb(self, "VmRSS");
  // The reaper is our parent; the doorman outside has the same few pages.
  double reaper = status_mb(std::to_string(::getppid()), "VmRSS");
  return bench::print(
      {{"memory.rss_mb_4_machines", rss, "MB", 1, "the test process; goal < 40"},
       {"memory.peak_rss_mb_4_machines", status_mb(self, "VmHWM"), "MB", 1, ""},
       {"memory.reaper_rss_mb", reaper, "MB", 1, "mostly pages shared with the test"}},
      argc, argv);
}
