// The process that stays in the host's namespaces: parent of the sandbox and doorman.
#pragma once
#include "lib/base/fd.h"

#include <sys/types.h>

namespace attest::sandbox {

/// Level full: serves `door`, passes signals to the tests by way of the reaper, stops when they
/// stop, and ends as they ended once nothing of the sandbox runs. Signals must be held.
[[noreturn]] void stay_outside(base::Fd control, base::Fd door, pid_t reaper) noexcept;

/// Level no_pid_namespace: serves `door` in a helper process until the tests, its parent, are
/// gone. Signals must be held.
[[noreturn]] void stay_beside(base::Fd door) noexcept;

}  // namespace attest::sandbox
