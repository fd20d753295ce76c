#include "lib/core/timeout_factor.h"

#include <atomic>

namespace attest::core {
namespace {
std::atomic<double> factor = 1;
}

double timeout_factor() noexcept { return factor; }
void set_timeout_factor(double value) noexcept { factor = value; }

}  // namespace attest::core
