// How soon a saved machine answers again: against its cold boot, and against the bare monitor that
// is given the same snapshot by plain requests. Needs $ATTEST_FIRECRACKER: the stand-in of
// tests/sims where there is no KVM.
#include "bare_monitor.h"
#include "bench.h"
#include "lib/async/fd_stream.h"
#include "lib/async/loop.h"
#include "lib/guest/guest.h"

#include <attest/driver.h>
#include <attest/sandbox.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

attest::Config config_of() {
  attest::Config config;
  auto& guest = config.machines["guest"];
  guest.backend = "firecracker";
  guest.memory_mb = 256;
  guest.vlans = {};
  return config;
}

attest::Task<void> run_true(attest::base::Fd connection) {
  auto loop = co_await attest::asio::this_coro::executor;
  auto stream = attest::async::make_stream(loop, std::move(connection));
  attest::guest::Bootstrap none;
  auto deadline = attest::Deadline::after(60s);
  auto guest = co_await attest::guest::greet(std::move(stream), std::move(none), deadline);
  attest::guest::Command command{.shell = "true", .argv = {}};
  co_await guest->run(std::move(command), deadline);
}

// What a careful person's script would do, with the same agent in the guest.
double bare_restore_ms(const std::string& program, const fs::path& saved, const fs::path& dir) {
  fs::create_directory(dir);
  attest::async::Loop loop;
  auto vsock = (dir / "v").string();
  std::unique_ptr<bench::BareMonitor> monitor;  // ended after the clock has stopped
  double ms = bench::time_ms([&] {
    monitor = std::make_unique<bench::BareMonitor>(program, dir.string());
    monitor->request("PUT", "/snapshot/load",
                     "{\"snapshot_path\": \"" + (saved / "state").string() +
                         "\", \"mem_backend\": {\"backend_type\": \"File\", \"backend_path\": \"" +
                         (saved / "memory").string() +
                         "\"}, \"vsock_override\": {\"uds_path\": \"" + vsock +
                         "\"}, \"resume_vm\": true}");
    attest::base::Fd connection(bench::BareMonitor::connect_guest(vsock, 1024));
    loop.run(run_true(std::move(connection)));
  });
  monitor.reset();
  fs::remove_all(dir);
  return ms;
}

std::vector<bench::Metric> measure(const std::string& program, const fs::path& dir, int count) {
  std::vector<double> cold, save, restore, bare;
  for (int i = 0; i < count; ++i) {
    auto driver = attest::make_driver(config_of());
    driver->serial_stdout_off();
    auto& guest = driver->machine("guest");
    cold.push_back(bench::time_ms([&] { guest.succeed("true"); }));
    // A guest that is still busy with its boot would be measured along.
    guest.wait_for_unit("multi-user.target");
    auto saved = dir / "saved";
    save.push_back(bench::time_ms([&] { guest.snapshot_create(saved); }));
    guest.crash();
    for (int k = 0; k < 3; ++k) {
      restore.push_back(bench::time_ms([&] {
        guest.snapshot_restore(saved);
        guest.succeed("true");
      }));
      guest.crash();
      bare.push_back(bare_restore_ms(program, saved, dir / "bare"));
    }
    fs::remove_all(saved);
  }
  double mine = bench::median(restore), theirs = bench::median(bare), boot = bench::median(cold);
  int many = static_cast<int>(restore.size());
  return {{"snapshot.sim_save_ms", bench::median(save), "ms", count, "a machine that is ready"},
          {"snapshot.sim_restore_ms", mine, "ms", many, "to the first answered command"},
          {"snapshot.sim_bare_restore_ms", theirs, "ms", many, "the same by plain requests"},
          {"snapshot.sim_cold_boot_ms", boot, "ms", count, "to the first answered command"},
          {"snapshot.sim_vs_bare_restore", mine / theirs, "ratio", many, "goal <= 1.2"},
          {"snapshot.sim_vs_cold_boot", boot / mine, "ratio", count, "goal >= 10"}};
}

}  // namespace

int main(int argc, char** argv) {
  const char* program = std::getenv("ATTEST_FIRECRACKER");
  if (program == nullptr) {
    std::fprintf(stderr,
                 "set ATTEST_FIRECRACKER to the monitor, as to build/tests/sims/sim-firecracker\n");
    return 2;
  }
  auto sandbox = attest::enter_sandbox();
  fs::path dir = fs::path("/var/tmp") / ("attest-bench-" + std::to_string(::getpid()));
  fs::create_directories(dir);
  auto metrics = measure(fs::absolute(program), dir, bench::samples(argc, argv, 5));
  fs::remove_all(dir);
  return bench::print(metrics, argc, argv);
}
