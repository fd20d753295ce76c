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

/// Something that must stay true. While a driver holds it, an operation on one of the driver's
/// machines that begins an interval or more after the last look's end first looks at it: false, and
/// anything that it throws, is an Error{guest} "polling condition failed: DESCRIPTION" instead of
/// the operation, and of each later one until it holds again. It is called on that operation's
/// thread, and may use machines itself; an operation that begins elsewhere meanwhile does not wait
/// for it.
/// Nothing looks between operations, nor while one runs: a wait of ten minutes looks once, at its
/// begin. Operations are commands, spawn(), waits in the guest and for the console, systemd,
/// files, shared_dir(), send_console() and what reads terminals and windows; start(), shutdown(),
/// crash(), reboot(), wait_for_shutdown(), get_console_log(), and the calls of a Process, do not
/// look. Copies are the same condition.
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
