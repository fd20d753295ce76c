// A Stream over a file descriptor: unix sockets, pipes, ptys.
#pragma once
#include "lib/async/net.h"
#include "lib/base/fd.h"

#include <memory>

namespace attest::async {

/// Takes `fd`, a connected socket, pipe end or tty, and makes it non-blocking.
std::unique_ptr<Stream> make_stream(asio::any_io_executor loop, base::Fd fd);

/// Accepts one connection on the listening unix socket `listener`, which must outlive the call.
/// Cancellable.
Task<base::Fd> accept_one(const base::Fd& listener);

}  // namespace attest::async
