#include "attest/retry.h"

#include "attest/deadline.h"
#include "attest/error.h"
#include "lib/base/text.h"
#include "lib/core/timeout_factor.h"

#include <algorithm>
#include <thread>

namespace attest {

void retry(const std::function<bool()>& attempt, RetryOptions options, std::source_location here) {
  auto started = Deadline::Clock::now();
  auto scaled = std::chrono::duration<double, std::milli>(
      static_cast<double>(options.timeout.count()) * core::timeout_factor());
  auto longest = std::chrono::duration<double, std::milli>(std::chrono::hours(24 * 365));
  auto deadline = Deadline::after(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::min(scaled, longest)));
  std::chrono::nanoseconds delay = options.delay;
  std::string last;
  for (int attempts = 1;; ++attempts) {
    try {
      if (attempt()) return;
      last.clear();
    } catch (Error& e) {
      if (e.kind() != Error::Kind::guest && e.kind() != Error::Kind::timeout) {
        e.at(here);
        throw;
      }
      last = e.what();
    }
    if (deadline.passed() || attempts == options.attempts) {
      Error error(Error::Kind::timeout, options.what + " did not come true in " +
                                            base::human(Deadline::Clock::now() - started) + " (" +
                                            std::to_string(attempts) +
                                            (attempts == 1 ? " attempt)" : " attempts)"));
      throw error.attach("the last attempt", last).at(here);
    }
    // The condition is the caller's: nothing can wake us, so this is one of the few real sleeps.
    std::this_thread::sleep_for(std::min<Deadline::Clock::duration>(delay, deadline.left()));
    if (options.growing)
      delay =
          std::max(delay, std::min<std::chrono::nanoseconds>(delay * 3 / 2, options.longest_delay));
  }
}

}  // namespace attest
