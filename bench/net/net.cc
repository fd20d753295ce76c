// What the network costs: --only=setup, switch or faults for the rows of one part.
#include "net.h"

#include <attest/sandbox.h>

#include <cstdio>
#include <exception>

int main(int argc, char** argv) try {
  auto sandbox = attest::enter_sandbox();
  std::vector<bench::Metric> all;
  auto add = [&](const std::vector<bench::Metric>& rows) {
    all.insert(all.end(), rows.begin(), rows.end());
  };
  if (bench::wanted("setup", argc, argv)) add(net_setup(bench::samples(argc, argv, 5)));
  if (bench::wanted("switch", argc, argv)) add(net_switch(bench::samples(argc, argv, 20)));
  if (bench::wanted("faults", argc, argv)) add(net_faults(bench::samples(argc, argv, 20)));
  return bench::print(all, argc, argv);
} catch (const std::exception& e) {
  std::fprintf(stderr, "bench/net: %s\n", e.what());
  return 1;
}
