// What all benches share: metrics, a table for people, JSON for machines (--json).
#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <vector>

namespace bench {

/// One figure. A ratio is a metric of its own, measured in the same run as both its sides.
struct Metric {
  std::string name;  ///< "boot.qemu_vs_bare"
  double value = 0;
  std::string unit;  ///< "ms", "ratio", "MB"
  int samples = 1;
  std::string against;  ///< what a ratio compares with; the goal, if the project has one
};

/// Prints `metrics` as a table, or as JSON if the arguments hold --json.
int print(const std::vector<Metric>& metrics, int argc, char** argv);

/// --samples=N, else `fallback`.
int samples(int argc, char** argv, int fallback);

/// Whether the rows about `backend` are to be measured: all are, unless --only=BACKEND is given.
bool wanted(const std::string& backend, int argc, char** argv);

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  auto middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

/// The value that `percent` of the values do not exceed (nearest rank).
inline double percentile(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  auto rank =
      static_cast<std::size_t>(std::ceil(percent / 100 * static_cast<double>(values.size())));
  return values[std::clamp<std::size_t>(rank, 1, values.size()) - 1];
}

/// Milliseconds that `work` takes.
template <class Work>
double time_ms(Work work) {
  auto started = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - started)
      .count();
}

}  // namespace bench
