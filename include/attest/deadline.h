// A point in time that is handed down from a public call to every step below it.
#pragma once
#include <algorithm>
#include <chrono>

namespace attest {

/// When a piece of work must be over. Durations exist only in the public API; everything
/// below passes a Deadline on, so that nested steps share one budget instead of adding up.
/// Uses the host's monotonic clock: guest clocks and wall-clock steps do not matter.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  /// `span` from now; negative counts as zero, huge spans saturate to never().
  static Deadline after(std::chrono::nanoseconds span) {
    auto now = Clock::now();
    if (span.count() <= 0) return Deadline(now);
    return span >= Clock::time_point::max() - now ? never() : Deadline(now + span);
  }
  /// A deadline that does not come.
  static Deadline never() { return Deadline(Clock::time_point::max()); }

  Clock::time_point at() const noexcept { return at_; }
  bool passed() const noexcept { return Clock::now() >= at_; }
  /// The time that is left, never negative.
  Clock::duration left() const noexcept {
    if (at_ == Clock::time_point::max()) return Clock::duration::max();
    return std::max(Clock::duration::zero(), at_ - Clock::now());
  }
  /// Whichever comes first: a step's own limit cut by the enclosing one.
  Deadline earlier(Deadline other) const noexcept { return other.at_ < at_ ? other : *this; }

 private:
  explicit Deadline(Clock::time_point at) : at_(at) {}
  Clock::time_point at_;
};

}  // namespace attest
