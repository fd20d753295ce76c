// The factor of --attest_timeout_factor, for the few waits that belong to no driver.
#pragma once

namespace attest::core {

/// 1 unless the run's settings say otherwise.
double timeout_factor() noexcept;
/// Set once, by lib/entry, before any wait.
void set_timeout_factor(double factor) noexcept;

}  // namespace attest::core
