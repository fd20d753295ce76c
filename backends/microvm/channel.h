// The byte stream of one boot whose guest may restart in place (allow_reboot): what carries it ends
// and comes again, and whoever reads sees a new greeting on the same Stream, as on a virtual port.
#pragma once
#include "lib/async/net.h"

#include <functional>
#include <memory>

namespace attest::microvm {

/// Makes the next connection; waits for as long as that takes, cancellable. Throws Error when there
/// will be none any more: the machine is gone.
using Connect = std::function<Task<std::unique_ptr<Stream>>()>;

/// A Stream on `first`, and on a connection by `connect` each time the present one has ended. It
/// ends when `connect` throws.
std::unique_ptr<Stream> make_channel(asio::any_io_executor loop, std::unique_ptr<Stream> first,
                                     Connect connect);

}  // namespace attest::microvm
