// memory.rss_mb_4_machines: what attest's own processes hold while four guests run under QEMU.
// memory.rss_mb_50_containers: the same with 50 containers, how long those take to be there, and
// what each needs. Root's containers share fs.inotify.max_user_instances: it is raised for the run
// where it is too low, and set back.
#include "bench.h"

#include <attest/driver.h>
#include <attest/sandbox.h>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

double status_mb(const std::string& pid, const std::string& key) {
  std::ifstream status("/proc/" + pid + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key + ":")) return std::stod(line.substr(key.size() + 1)) / 1024;
  return 0;
}

constexpr auto inotify_limit = "/proc/sys/fs/inotify/max_user_instances";

// Raises a limit of the host for as long as it lives.
class RaisedLimit {
 public:
  RaisedLimit(const char* path, long least) : path_(path) {
    std::ifstream(path_) >> before_;
    if (before_ < least) std::ofstream(path_) << least;
  }
  RaisedLimit(const RaisedLimit&) = delete;
  RaisedLimit& operator=(const RaisedLimit&) = delete;
  ~RaisedLimit() { std::ofstream(path_) << before_; }

 private:
  const char* path_;
  long before_ = 0;
};

double available_mb() {
  std::ifstream info("/proc/meminfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("MemAvailable:")) return std::stod(line.substr(13)) / 1024;
  return 0;
}

std::vector<bench::Metric> fifty_containers() {
  attest::Config config;
  for (int i = 0; i < 50; ++i) {
    auto& machine = config.machines["c" + std::to_string(i)];
    machine.backend = "nspawn";
    machine.ready = attest::Ready::multi_user;
  }
  auto driver = attest::make_driver(config);
  driver->serial_stdout_off();
  double before = available_mb();
  double started = bench::time_ms([&] { driver->start_all(); });
  std::atomic<int> reached = 0;
  double ready = bench::time_ms([&] {
    std::vector<std::jthread> threads;
    for (auto* machine : driver->machines())
      threads.emplace_back([&reached, machine] {
        // Each asks the next one over the network: all are reachable.
        auto next = "c" + std::to_string((std::stoi(machine->name().substr(1)) + 1) % 50);
        machine->succeed("curl -sf --retry 20 --retry-connrefused --retry-delay 1 http://" + next +
                         " | grep -q nginx");
        ++reached;
      });
  });
  double each = (before - available_mb()) / 50;
  double rss = status_mb(std::to_string(::getpid()), "VmRSS");
  return {{"boot.nspawn_50_s", started / 1000, "s", 1, "start_all(); goal < 10"},
          {"boot.nspawn_50_reached_s", (started + ready) / 1000, "s", 1,
           "until each, at multi-user.target, has fetched a page from the next"},
          {"boot.nspawn_50_reached", static_cast<double>(reached), "", 1, "of 50"},
          {"memory.rss_mb_50_containers", rss, "MB", 1, "the test process"},
          {"memory.mb_per_container", each, "MB", 1, "of the host's available memory"}};
}

std::vector<bench::Metric> four_guests() {
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
  return {{"memory.rss_mb_4_machines", rss, "MB", 1, "the test process; goal < 40"},
          {"memory.peak_rss_mb_4_machines", status_mb(self, "VmHWM"), "MB", 1, ""},
          {"memory.reaper_rss_mb", reaper, "MB", 1, "mostly pages shared with the test"}};
}

int measure(int argc, char** argv) {
  auto sandbox = attest::enter_sandbox();
  std::vector<bench::Metric> all;
  auto add = [&](const std::vector<bench::Metric>& rows) {
    all.insert(all.end(), rows.begin(), rows.end());
  };
  if (bench::wanted("qemu", argc, argv)) add(four_guests());
  if (bench::wanted("nspawn", argc, argv)) add(fifty_containers());
  return bench::print(all, argc, argv);
}

}  // namespace

int main(int argc, char** argv) {
  std::optional<RaisedLimit> raised;
  if (bench::wanted("nspawn", argc, argv)) raised.emplace(inotify_limit, 1024);
  // The limit is set back when all of the sandbox is gone.
  pid_t inside = ::fork();
  if (inside == 0) {
    int result = measure(argc, argv);
    std::fflush(stdout);
    ::_exit(result);
  }
  int status = 0;
  ::waitpid(inside, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
