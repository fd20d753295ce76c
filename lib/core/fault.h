// The inside of a Fault handle: what it shares with the fleet, and the way there, which may be
// closed by then.
#pragma once
#include "lib/core/networks.h"

#include <memory>

namespace attest {

struct Fault::Impl {
  void heal(Here here);

  std::shared_ptr<core::Calls> calls;
  core::Fleet& fleet;  ///< exists for as long as `calls` lets us in
  std::shared_ptr<core::Applied> fault;
};

}  // namespace attest
