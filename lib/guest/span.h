// How long something was waited for, in words.
#pragma once
#include "attest/deadline.h"
#include "lib/base/text.h"

#include <algorithm>
#include <chrono>
#include <string>

namespace attest::guest {

/// The time left until `deadline`, rounded up to 100 ms (10 ms below half a second): a limit of one
/// second is "1 s" in a message, also when a fraction of it is gone by the time that the message's
/// maker looks.
inline std::string span_words(Deadline deadline) {
  using namespace std::chrono;
  auto left = std::min<Deadline::Clock::duration>(deadline.left(), hours(24 * 365));
  auto ms = duration_cast<milliseconds>(left).count();
  auto step = ms < 500 ? 10 : 100;
  return base::human(milliseconds((ms + step - 1) / step * step));
}

}  // namespace attest::guest
