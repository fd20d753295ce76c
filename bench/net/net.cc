// What the network costs: --only=setup (and what other files here add) for the rows of one part.
#include "net.h"

#include <cstdio>
#include <exception>

int main(int argc, char** argv) try {
  std::vector<bench::Metric> all;
  auto add = [&](const std::vector<bench::Metric>& rows) {
    all.insert(all.end(), rows.begin(), rows.end());
  };
  if (bench::wanted("setup", argc, argv)) add(net_setup(bench::samples(argc, argv, 5)));
  return bench::print(all, argc, argv);
} catch (const std::exception& e) {
  std::fprintf(stderr, "bench/net: %s\n", e.what());
  return 1;
}
