// Clearing a cgroup away after tests that may have died by SIGKILL.
#pragma once
#include "lib/base/fd.h"

#include <sys/types.h>

#include <string>

namespace attest::sandbox {

/// Makes the cgroup `directory` (absolute, of cgroup2) unless it exists, and starts, before that, a
/// process, apart from all others, that waits for the end of the returned socket, kills
/// whatever runs in it and below, removes the
/// directories, retrying for about ten seconds, and ends. Throws Error{host}, also for a directory
/// that is no cgroup, whose name does not begin with "attest-", or that holds this process or
/// `owner`.
base::Fd sweep_cgroup_later(const std::string& directory, pid_t owner);

}  // namespace attest::sandbox
