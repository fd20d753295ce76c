// A machine that prints without end: 1 GB on the console and 2 GB from a command, read by a test
// that goes on with other commands meanwhile. Memory, the slowest of those commands, and whether
// the log file has it all. On loopback, where a byte costs least; --qemu floods a guest's serial
// port with 8 MB and its agent with 2 GB.
#include "bench.h"

#include <attest/driver.h>
#include <attest/sandbox.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace {

using namespace std::chrono_literals;

double peak_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
  return 0;
}

// Short commands until `work` is done; returns the slowest one's milliseconds.
double slowest_beside(attest::Machine& machine, const std::function<void()>& work) {
  std::atomic<bool> over = false;
  double slowest = 0;
  std::thread others([&] {
    while (!over) slowest = std::max(slowest, bench::time_ms([&] { machine.succeed("true"); }));
  });
  work();
  over = true;
  others.join();
  return slowest;
}

}  // namespace

int main(int argc, char** argv) {
  auto sandbox = attest::enter_sandbox();
  bool qemu = std::any_of(argv, argv + argc,
                          [](const char* word) { return std::string_view(word) == "--qemu"; });
  attest::Config config;
  auto& loud = config.machines["loud"];
  loud.backend = qemu ? "qemu" : "loopback";
  const std::uint64_t console_bytes = qemu ? 8'000'000 : 1'000'000'000;
  const std::uint64_t output_bytes = 488'282 * 4096;  // whole lines
  auto output = std::filesystem::temp_directory_path() / "attest-bench-flood";
  ::setenv("ATTEST_OUTPUT", output.c_str(), 1);
  auto driver = attest::make_driver(config);
  driver->serial_stdout_off();
  auto& machine = driver->machine("loud");
  machine.succeed("true");
  double before = peak_mb();

  const std::string console = qemu ? "/dev/console" : "/proc/1/fd/2";
  double console_ms = 0, output_ms = 0;
  std::uint64_t got = 0;
  double beside_console = slowest_beside(machine, [&] {
    console_ms = bench::time_ms([&] {
      machine.succeed("head -c " + std::to_string(console_bytes) + " /dev/zero | tr '\\0' x >" +
                          console + "; echo the end >" + console,
                      {.timeout = 1h});
      machine.wait_for_console_text("the end", {.timeout = 10min});
    });
  });
  double beside_output = slowest_beside(machine, [&] {
    output_ms = bench::time_ms([&] {
      auto yes = machine.spawn({.shell = "yes $(printf %04095d 0) | head -c " +
                                         std::to_string(output_bytes) + " || true",
                                .strict = false});
      while (auto line = yes.read_line({.timeout = 10min})) got += line->size() + 1;
    });
  });
  double growth = peak_mb() - before;
  auto logged = std::filesystem::file_size(output / "loud" / "console.log");
  std::filesystem::remove_all(output);
  auto rate = [](double bytes, double ms) { return bytes / ms / 1000; };
  return bench::print(
      {{"flood.console_mb_s", rate(double(console_bytes), console_ms), "MB/s", 1, "one long line"},
       {"flood.console_missing", std::max(0.0, double(console_bytes) - double(logged)), "bytes", 1,
        "of the log file; goal 0"},
       {"flood.output_mb_s", rate(double(got), output_ms), "MB/s", 1, "2 GB by read_line()"},
       {"flood.output_missing", double(output_bytes) - double(got), "bytes", 1, "goal 0"},
       {"flood.rss_growth_mb", growth, "MB", 1, "goal: bounded, < 16"},
       {"flood.true_beside_console_ms", beside_console, "ms", 1, "slowest succeed(\"true\")"},
       {"flood.true_beside_output_ms", beside_output, "ms", 1, "slowest succeed(\"true\")"}},
      argc, argv);
}
