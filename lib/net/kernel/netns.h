// Network namespaces for guests that are processes of this host.
#pragma once
#include "lib/base/fd.h"

namespace attest::net {

/// A new network namespace with its loopback up, which lives as long as the descriptor (or what
/// was put into it). A thread of its own enters it, so that the caller's stays where it is; blocks
/// for that long, a millisecond or so. Throws Error{host}.
base::Fd make_netns();

}  // namespace attest::net
