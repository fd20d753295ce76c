// The agent's owned file descriptors are the library's.
#pragma once
#include "lib/base/owned_fd.h"

namespace attest::agent {
using base::Fd;
}  // namespace attest::agent
