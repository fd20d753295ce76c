// wait.{port,file,unit}_{p50,p99}_ms: from the moment that something has come true in the guest
// (its maker says so on a port of its own) to the return of the wait that was under way for it.
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

}  // namespace

int main(int argc, char** argv) {
  auto sandbox = attest::enter_sandbox();
  bench::GuestPeer guest(sandbox.work_dir);
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
  int count = bench::samples(argc, argv, 60);
  std::vector<bench::Metric> metrics;
  for (auto& one : cases) {
    std::vector<double> samples;
    for (int i = 0; i < count; ++i) samples.push_back(once(guest, one, 150ms + i % 7 * 11ms));
    metrics.push_back({"wait." + one.name + "_p50_ms", bench::median(samples), "ms", count,
                       "goal < 20; a 1 s poll has 470-540"});
    metrics.push_back({"wait." + one.name + "_p99_ms", bench::percentile(samples, 99), "ms", count,
                       "goal < 80; a 1 s poll has 1300"});
  }
  return bench::print(metrics, argc, argv);
}
