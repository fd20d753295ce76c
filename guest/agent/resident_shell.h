// A bash that stays, and forks the shells that commands run in.
#pragma once
#include "guest/agent/loop.h"

namespace attest::agent {

class ResidentShell {
 public:
  explicit ResidentShell(Loop&) {}
};

}  // namespace attest::agent
