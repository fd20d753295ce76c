// How long the steps of a boot or a restore took, for benchmarks: said if $ATTEST_TIMINGS is set.
#pragma once
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace attest::microvm {

/// Begins with its construction. Costs two reads of a clock a step.
class Timings {
 public:
  explicit Timings(std::string what) : what_(std::move(what)) {}

  /// `step` has just ended.
  void done(std::string step) {
    auto now = Clock::now();
    steps_.emplace_back(std::move(step), now - last_);
    last_ = now;
  }
  /// "timings of restore: monitor 3.214 ms, load 1.870 ms, ..., all 9.120 ms"
  std::string text() const;
  /// Gives text() to `say` if $ATTEST_TIMINGS is set and not empty.
  void tell(const std::function<void(std::string_view)>& say) const;

 private:
  using Clock = std::chrono::steady_clock;

  std::string what_;
  Clock::time_point begin_ = Clock::now(), last_ = begin_;
  std::vector<std::pair<std::string, Clock::duration>> steps_;
};

}  // namespace attest::microvm
