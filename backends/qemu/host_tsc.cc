#include "backends/qemu/host_tsc.h"

#include <chrono>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace attest::qemu {

unsigned host_tsc_khz() {
#if defined(__x86_64__)
  static const unsigned measured = [] {
    using Clock = std::chrono::steady_clock;
    auto start = Clock::now();
    auto first = __rdtsc();
    auto now = start;
    while (now - start < std::chrono::milliseconds(2)) now = Clock::now();
    auto ticks = __rdtsc() - first;
    auto span = std::chrono::duration_cast<std::chrono::nanoseconds>(now - start).count();
    return unsigned(ticks * 1000000 / span);
  }();
  return measured;
#else
  return 0;
#endif
}

}  // namespace attest::qemu
