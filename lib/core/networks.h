// The way from the handles of attest/network.h to the fabric of their driver, and what those
// handles share with the driver's end: they may outlive it.
#pragma once
#include "attest/network.h"
#include "lib/core/fleet.h"
#include "lib/net/faults.h"

#include <atomic>
#include <source_location>
#include <type_traits>
#include <utility>

namespace attest::core {

/// `use(fabric)` on the loop, once the networks are there.
template <class Use>
Task<std::invoke_result_t<Use&, net::Fabric&>> with_fabric(Fleet& fleet, Use use) {
  co_await fleet.begin();
  co_return use(*fleet.fabric);
}

/// Runs `task` on the loop, from the test's threads; an Error gets the place in the test.
/// `fleet` exists for as long as `calls` lets us in.
template <class T>
T on_loop(Fleet& fleet, Calls& calls, std::source_location here, Task<T> task) {
  try {
    auto pass = calls.enter();
    return fleet.loop.run(std::move(task));
  } catch (Error& e) {
    e.at(here);
    throw;
  }
}

template <class T>
T on_loop(Fleet& fleet, std::source_location here, Task<T> task) {
  return on_loop(fleet, *fleet.calls, here, std::move(task));
}

/// One fault, shared by its handle and the fleet. Loop thread only, except `on`.
struct Applied {
  explicit Applied(net::FaultPlan plan_) : plan(std::move(plan_)) {}

  const net::FaultPlan plan;
  int number = 0;  ///< the fabric's; while it is on
  std::atomic<bool> on = false;
};

/// Puts it on, or takes it off; nothing to do if that is so.
Task<void> put_on(Fleet& fleet, std::shared_ptr<Applied> fault);
Task<void> take_off(Fleet& fleet, std::shared_ptr<Applied> fault);

/// At the driver's end, on the loop: no fault is on any more.
void end_faults(Fleet& fleet) noexcept;

}  // namespace attest::core
