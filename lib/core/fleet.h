// What the machines of one driver share: the loop, the network, the clock of the whole run.
#pragma once
#include "attest/backend.h"
#include "lib/async/event.h"
#include "lib/async/loop.h"
#include "lib/core/calls.h"
#include "lib/core/polling.h"
#include "lib/net/fabric.h"
#include "lib/net/plan.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <vector>

namespace attest::core {

struct Applied;
struct Capturing;

/// One that is short to type.
std::uint64_t random_seed();

/// Made by Driver, referred to by its machines, ended after them.
struct Fleet {
  Fleet(Config config_, DriverSetup setup_, net::Plan plan_)
      : config(std::move(config_)),
        setup(std::move(setup_)),
        plan(std::move(plan_)),
        seed(config.network.seed ? config.network.seed : random_seed()) {}

  /// `span` times the timeout factor, cut by the end of the whole run.
  /// Loop thread.
  Deadline limit(std::chrono::milliseconds span) const {
    auto scaled = std::chrono::duration<double, std::milli>(static_cast<double>(span.count()) *
                                                            setup.timeout_factor);
    auto longest = std::chrono::duration<double, std::milli>(std::chrono::hours(24 * 365));
    return Deadline::after(
               std::chrono::duration_cast<std::chrono::nanoseconds>(std::min(scaled, longest)))
        .earlier(end.value_or(Deadline::never()));
  }
  /// Starts the run's clock and makes the networks, at the first machine's start. Throws
  /// Error{usage} once the driver has ended. Loop thread.
  Task<void> begin();

  Config config;  ///< machines are added on the loop
  DriverSetup setup;
  net::Plan plan;            ///< the same
  const std::uint64_t seed;  ///< of the faults' random choices
  /// Shared with handles that may outlive the driver.
  const std::shared_ptr<Calls> calls = std::make_shared<Calls>();
  const std::shared_ptr<Polling> polling = std::make_shared<Polling>();
  std::atomic<bool> serial_stdout = true;  ///< console lines are shown to people
  async::Loop loop;
  std::unique_ptr<net::Fabric> fabric;  ///< made and ended on the loop thread
  async::Mutex beginning{loop.executor()};
  std::optional<Deadline> end;  ///< of the whole run
  bool ended = false;           ///< the networks are gone for good

  // What hangs off the networks: see networks.h and network_capture.h. Loop thread.
  std::vector<std::weak_ptr<Applied>> faults;  ///< those that are on
  bool seed_told = false;
  std::vector<std::shared_ptr<Capturing>> captures;
  std::set<int> captured;  ///< VLANs that are captured for the whole run
  bool failed = false;     ///< known at the driver's end: whether that is worth keeping
};

}  // namespace attest::core
