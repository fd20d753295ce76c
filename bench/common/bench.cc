#include "bench.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string_view>

namespace bench {
namespace {

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

}  // namespace

int print(const std::vector<Metric>& metrics, int argc, char** argv) {
  utsname system{};
  ::uname(&system);
  bool json = std::any_of(argv, argv + argc,
                          [](const char* word) { return std::string_view(word) == "--json"; });
  if (json) {
    nlohmann::json report;
    report["host"] = {{"cpu", cpu_model()},
                      {"cores", ::sysconf(_SC_NPROCESSORS_ONLN)},
                      {"kernel", system.release}};
    for (auto& m : metrics)
      report["metrics"].push_back({{"name", m.name},
                                   {"value", m.value},
                                   {"unit", m.unit},
                                   {"samples", m.samples},
                                   {"against", m.against}});
    std::puts(report.dump(2).c_str());
    return 0;
  }
  fmt::print("{} cores, {}, Linux {}\n", ::sysconf(_SC_NPROCESSORS_ONLN), cpu_model(),
             system.release);
  for (auto& m : metrics)
    fmt::print("{:<32} {:>10.3f} {:<6} n={:<4} {}\n", m.name, m.value, m.unit, m.samples,
               m.against);
  return 0;
}

namespace {

// The value of --NAME=VALUE.
std::optional<std::string_view> option(std::string_view name, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string_view word = argv[i];
    if (word.starts_with("--") && word.substr(2).starts_with(name) &&
        word.substr(2 + name.size()).starts_with('='))
      return word.substr(3 + name.size());
  }
  return std::nullopt;
}

}  // namespace

int samples(int argc, char** argv, int fallback) {
  auto given = option("samples", argc, argv);
  return given ? std::max(1, std::atoi(given->data())) : fallback;
}

bool wanted(const std::string& backend, int argc, char** argv) {
  return option("only", argc, argv).value_or(backend) == backend;
}

}  // namespace bench
