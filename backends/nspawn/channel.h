// The byte stream of one boot. What carries it may end and come again (the agent is restarted, the
// container reboots in place); whoever reads then sees a new greeting on the same Stream, as on a
// virtual machine's port.
#pragma once
#include "attest/backend.h"
#include "backends/nspawn/running.h"

#include <functional>
#include <memory>

namespace attest::nspawn {

/// Makes the next connection; waits for as long as that takes. Cancellable.
using Connect = std::function<Task<std::unique_ptr<Stream>>()>;

/// A Stream on `first`, and on a connection by `connect` each time the present one has ended. It
/// ends when the container is gone, or a connection ends without a single byte.
std::unique_ptr<Stream> make_channel(asio::any_io_executor loop, std::shared_ptr<Running> running,
                                     std::unique_ptr<Stream> first, Connect connect);

}  // namespace attest::nspawn
