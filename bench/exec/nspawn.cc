// succeed("true") in a container.
#include "exec.h"

#include <attest/driver.h>

std::vector<bench::Metric> exec_nspawn(int count) {
  attest::Config config;
  config.machines["guest"].backend = "nspawn";
  config.machines["guest"].ready = attest::Ready::multi_user;
  auto driver = attest::make_driver(config);
  auto& machine = driver->machine("guest");
  std::vector<double> shell, argv;
  for (int i = -5; i < count; ++i) {
    double a = bench::time_ms([&] { machine.succeed("true"); });
    double b = bench::time_ms([&] { machine.run({"/bin/true"}); });
    if (i < 0) continue;  // the first ones fill caches
    shell.push_back(a);
    argv.push_back(b);
  }
  return {{"exec.nspawn_true_ms", bench::median(shell), "ms", count, "goal <= 2"},
          {"exec.nspawn_run_true_ms", bench::median(argv), "ms", count, "run({\"/bin/true\"})"},
          {"exec.nspawn_concurrent20_s", twenty_at_once_s(machine), "s", 1,
           "20 x sleep 1; goal < 1.5"}};
}
