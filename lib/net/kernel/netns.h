// Network namespaces: new ones for guests that are processes of this host, and work that has to be
// done inside one. Every function here uses a thread of its own for that, so that the caller's
// thread stays where it is.
#pragma once
#include "lib/base/fd.h"

#include <functional>

namespace attest::net {

/// A new network namespace with its loopback up, which lives as long as the descriptor (or what
/// was put into it). Blocks for a millisecond or so. Throws Error{host}.
base::Fd make_netns();

/// Runs `work` on a thread that is in `netns` and gets no signals; blocks until it has ended. What
/// it throws comes back. Sockets and netlink objects that it makes belong to that namespace for as
/// long as they live, on any thread. Throws Error{host} if the namespace cannot be entered.
void in_netns(const base::Fd& netns, const std::function<void()>& work);

}  // namespace attest::net
