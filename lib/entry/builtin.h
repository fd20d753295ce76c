// The list of backends that attest brings.
#pragma once
#include "attest/backend.h"

#include <string>

namespace attest::entry {

/// What the sandbox gives to those backends that need more than a process.
struct HostFacts {
  bool own_network = false;  ///< interfaces may be made: the network namespace is ours
  bool id_range = false;     ///< 65536 user ids or more are ours
  std::string why_no_id_range;
};

/// Every built-in backend by its name in a config. A copy is the caller's to change.
Backends builtin_backends(const HostFacts& host);

}  // namespace attest::entry
