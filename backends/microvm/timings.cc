#include "backends/microvm/timings.h"

#include <cstdio>
#include <cstdlib>

namespace attest::microvm {
namespace {

std::string milliseconds(std::chrono::steady_clock::duration span) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f ms",
                std::chrono::duration<double, std::milli>(span).count());
  return text;
}

}  // namespace

std::string Timings::text() const {
  std::string line = "timings of " + what_ + ":";
  for (auto& [step, span] : steps_) line += " " + step + " " + milliseconds(span) + ",";
  return line + " all " + milliseconds(last_ - begin_);
}

void Timings::tell(const std::function<void(std::string_view)>& say) const {
  const char* wanted = std::getenv("ATTEST_TIMINGS");
  if (wanted && *wanted && say) say(text());
}

}  // namespace attest::microvm
