// The inside of a Process handle: what it shares with the loop, and the way there, which may be
// closed by then.
#pragma once
#include "attest/process.h"
#include "lib/core/fleet.h"
#include "lib/core/spawned.h"

#include <memory>

namespace attest {

struct Process::Impl {
  /// Runs `task` on the loop. Throws Error{usage} when the driver has ended or the handle was
  /// detached.
  template <class T>
  T call(Task<T> task, Here here) {
    try {
      auto pass = calls->enter();
      return fleet.loop.run(std::move(task));
    } catch (Error& e) {
      e.during("using command `" + spawned->label + "` of machine '" + spawned->machine + "'")
          .at(here);
      throw;
    }
  }

  std::shared_ptr<core::Calls> calls;
  core::Fleet& fleet;                          ///< exists for as long as `calls` lets us in
  const std::chrono::milliseconds wait_limit;  ///< the config's, for calls without their own
  std::shared_ptr<core::Spawned> spawned;
};

}  // namespace attest
