// Commands that run outside the sandbox with a socket of the tests as stdin and stdout, and end
// with it.
#pragma once
#include "lib/base/fd.h"

#include <sys/types.h>

#include <string>

namespace attest::sandbox {

/// Starts `sh -c command` with one end of a stream socket pair as stdin and stdout and returns the
/// other. When that is closed, or the process `owner` ends, the command ends: by the end of its
/// input, or a second later by SIGTERM and then SIGKILL to its process group, of which nothing
/// outlives the shell. Throws Error{host}.
base::Fd run_command(const std::string& command, pid_t owner);

}  // namespace attest::sandbox
