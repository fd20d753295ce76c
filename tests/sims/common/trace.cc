#include "tests/sims/common/trace.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <string>

namespace attest::sims {

void trace(Passing direction, std::string_view what) {
  static const int file = [] {
    const char* path = std::getenv("ATTEST_SIM_TRACE");
    return path ? ::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
  }();
  if (file < 0) return;
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  std::string line = std::to_string(now.tv_sec * 1'000'000'000LL + now.tv_nsec) +
                     (direction == Passing::in ? " in " : " out ");
  line.append(what).append("\n");
  [[maybe_unused]] auto ignored = ::write(file, line.data(), line.size());
}

}  // namespace attest::sims
