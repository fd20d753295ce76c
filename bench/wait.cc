// wait.{port,file,unit}_{p50,p99}_ms, and with wait.nspawn_ the same in a container: from the
// moment that something has come true in the guest (its maker says so on a port of its own) to the
// return of the wait that was under way for it.
#include "bench.h"
#include "guest_peer.h"

#include <attest/sandbox.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

struct Case {
  std::string name;
  std::function<void(attest::Machine&)> wait;
  char make;                                      ///< what the guest's program does
  std::function<void(bench::GuestPeer&)> unmake;  ///< and undoes
};

// One wait, and how long it took from its cause on.
double once(bench::GuestPeer& guest, const Case& one, std::chrono::milliseconds head_start) {
  Clock::time_point returned;
  std::thread waiter([&] {
    one.wait(guest.machine());
    returned = Clock::now();
  });
  // The wait is to be under way; how long it has been is different each time.
  std::this_thread::sleep_for(head_start);
  guest.ask(one.make);
  auto caused = Clock::now();
  waiter.join();
  one.unmake(guest);
  // A wait that is faster than the maker's word is as fast as can be told.
  return std::max(0.0, std::chrono::duration<double, std::milli>(returned - caused).count());
}

// Appends p50 and p99 of each kind of wait, as wait.`of`KIND_p50_ms.
void measure(bench::GuestPeer& guest, const std::string& of, const std::string& goals,
             const std::string& slow_goals, int count, std::vector<bench::Metric>& metrics) {
  guest.start();
  const Case cases[] = {
      {"port", [](auto& m) { m.wait_for_open_port(7777, {.timeout = 60s}); }, 'p',
       [](auto& g) { g.ask('P'); }},
      {"file", [](auto& m) { m.wait_for_file("/run/bench/file", {.timeout = 60s}); }, 'f',
       [](auto& g) { g.ask('F'); }},
      {"unit", [](auto& m) { m.wait_for_unit("bench.service", {.timeout = 60s}); }, 'n',
       [](auto& g) {
         g.ask('q');
         g.machine().wait_until_fails("systemctl is-active bench.service");
         g.start();
       }},
  };
  for (auto& one : cases) {
    std::vector<double> samples;
    for (int i = 0; i < count; ++i) samples.push_back(once(guest, one, 150ms + i % 7 * 11ms));
    metrics.push_back(
        {"wait." + of + one.name + "_p50_ms", bench::median(samples), "ms", count, goals});
    metrics.push_back({"wait." + of + one.name + "_p99_ms", bench::percentile(samples, 99), "ms",
                       count, slow_goals});
  }
}

}  // namespace

int main(int argc, char** argv) {
  auto sandbox = attest::enter_sandbox();
  int count = bench::samples(argc, argv, 60);
  std::vector<bench::Metric> metrics;
  if (bench::wanted("nspawn", argc, argv)) {
    auto guest = bench::GuestPeer::in_container();
    measure(guest, "nspawn_", "goal < 10", "", count, metrics);
  }
  if (bench::wanted("qemu", argc, argv)) {
    bench::GuestPeer guest(sandbox.work_dir);
    measure(guest, "", "goal < 20; a 1 s poll has 470-540", "goal < 80; a 1 s poll has 1300", count,
            metrics);
  }
  return bench::print(metrics, argc, argv);
}
