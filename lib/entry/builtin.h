// The list of backends that attest brings.
#pragma once
#include "attest/backend.h"

namespace attest::entry {

/// Every built-in backend by its name in a config. A copy is the caller's to change.
Backends builtin_backends();

}  // namespace attest::entry
