// How exact faults are, seen from inside two containers, and how soon they hold.
#include "net.h"

#include "lib/net/kernel/shaping.h"

#include <attest/config.h>
#include <attest/driver.h>
#include <re2/re2.h>

#include <cmath>

using namespace std::chrono_literals;

namespace {

attest::Config two_containers(attest::Realisation realisation) {
  attest::Config config;
  for (const char* name : {"a", "b"}) config.machines[name].backend = "nspawn";
  config.network.realisation = realisation;
  return config;
}

double lost_percent(attest::Machine& from, int packets) {
  // Twenty on their way at once: ping waits 10 ms for each that is lost otherwise.
  auto text = from.execute("ping -q -f -l 20 -c " + std::to_string(packets) + " b").output;
  double lost = -1;
  RE2::PartialMatch(text, R"(([\d.]+)% packet loss)", &lost);
  return lost;
}

double median_rtt_ms(attest::Machine& from) {
  auto text = from.execute("ping -c 60 -i 0.05 b").output;
  std::vector<double> times;
  re2::StringPiece rest(text);
  double time = 0;
  while (RE2::FindAndConsume(&rest, R"(time=([\d.]+) ms)", &time)) times.push_back(time);
  return bench::median(times);
}

// Until partition() returns: from then on no frame passes.
double partition_ms(attest::Driver& driver, int count) {
  std::vector<double> times;
  for (int i = 0; i < count; ++i) {
    attest::Fault fault;
    times.push_back(bench::time_ms([&] { fault = driver.network().partition({"a"}, {"b"}); }));
    if (i == 0) driver.machine("a").fail("ping -q -c 3 -i 0.1 -W 1 b");
  }
  return bench::median(times);
}

}  // namespace

std::vector<bench::Metric> net_faults(int count) {
  std::vector<bench::Metric> rows;
  {
    auto driver = attest::make_driver(two_containers(attest::Realisation::process));
    driver->start_all();
    driver->serial_stdout_off();
    auto& a = driver->machine("a");
    constexpr int packets = 20'000;
    {
      auto fault = driver->network().link("b").impair({.loss = 0.1}, attest::Direction::to_machine);
      rows.push_back({"net.loss_error_pct", std::abs(lost_percent(a, packets) - 10), "points",
                      packets, "10 % loss; goal <= 1"});
    }
    double plain = median_rtt_ms(a);
    {
      auto fault =
          driver->network().link("b").impair({.delay = 50ms}, attest::Direction::to_machine);
      rows.push_back({"net.delay_error_ms", std::abs(median_rtt_ms(a) - 50), "ms", 60,
                      "50 ms one way, round trip without it " + std::to_string(plain).substr(0, 4) +
                          " ms; goal <= 2"});
    }
    rows.push_back({"net.partition_ms", partition_ms(*driver, count), "ms", count, "goal < 5"});
  }
  // On others it would be the switch's once more.
  if (!attest::net::shaping_support().no_partitions.empty()) return rows;
  auto driver = attest::make_driver(two_containers(attest::Realisation::kernel));
  driver->start_all();
  rows.push_back({"net.partition_kernel_ms", partition_ms(*driver, count), "ms", count,
                  "a VLAN of the kernel"});
  return rows;
}
