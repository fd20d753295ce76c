// How long something was waited for, in words.
#pragma once
#include "attest/deadline.h"
#include "lib/base/text.h"

#include <algorithm>
#include <chrono>
#include <string>

namespace attest::guest {

/// The time left until `deadline`, rounded to 10 ms: a limit of one second is "1 s" in a message,
/// also when a fraction of it is gone by the time that the message's maker looks.
inline std::string span_words(Deadline deadline) {
  using namespace std::chrono;
  auto left = std::min<Deadline::Clock::duration>(deadline.left(), hours(24 * 365));
  return base::human(milliseconds((duration_cast<milliseconds>(left).count() + 9) / 10 * 10));
}

}  // namespace attest::guest
