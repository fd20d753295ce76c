// Conditions that must hold all the time while a part of a test runs.
#pragma once
#include "attest/command.h"

#include <chrono>
#include <functional>
#include <memory>
#include <source_location>
#include <string>

namespace attest {

/// For polling_condition().
struct PollingOptions {
  std::chrono::milliseconds interval{2000};   ///< how long a look at it counts
  std::string description = "the condition";  ///< for messages
};

/// Something that must stay true. While a driver holds it, each operation on one of the driver's
/// machines first looks at it, when the last look is an interval ago: false, and anything that it
/// throws, is an Error{guest} "polling condition failed: DESCRIPTION" at that operation. It is
/// called on the thread of that operation, and may use machines itself. Copies are the same one.
///     auto up = attest::polling_condition([&] { return web.execute("pgrep nginx").exit_code == 0;
///     },
///                                         {.description = "nginx runs"});
///     auto held = driver().hold(up);  // until the end of this scope
class PollingCondition {
 public:
  using Here = std::source_location;
  struct Impl;  // lib/core/polling.h

  explicit PollingCondition(std::function<bool()> holds, PollingOptions options = {});

  /// Repeats it, every 10 ms and growing to its interval, until it is true. Limit: 15 minutes times
  /// the timeout factor. Throws Error{timeout} with what the last look has thrown.
  void wait(WaitOptions options = {}, Here here = Here::current()) const;

  const std::shared_ptr<Impl>& impl() const noexcept { return impl_; }

 private:
  std::shared_ptr<Impl> impl_;
};

/// Makes one.
PollingCondition polling_condition(std::function<bool()> holds, PollingOptions options = {});

/// While it lives the driver holds the condition. May outlive the driver.
class [[nodiscard]] HeldCondition {
 public:
  explicit HeldCondition(std::shared_ptr<void> registration)
      : registration_(std::move(registration)) {}

 private:
  std::shared_ptr<void> registration_;
};

}  // namespace attest
