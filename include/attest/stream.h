// The byte seam between attest and whatever a machine is: a shell on a virtio console, an
// agent's socket, an SSH channel. For authors of backends; test authors never need it.
#pragma once
#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <span>
#include <string_view>

namespace attest {

/// A coroutine of the driver's event loop.
template <class T>
using Task = boost::asio::awaitable<T>;

/// An ordered, reliable channel of bytes in both directions. All calls happen on the loop
/// thread; at most one read and one write are under way at a time.
class Stream {
 public:
  virtual ~Stream() = default;

  /// Reads at least one byte into `buffer` and returns how many; 0 means that the peer has
  /// ended the stream. Throws Error{host} on an I/O error. `buffer` must outlive the call.
  virtual Task<std::size_t> read_some(std::span<char> buffer) = 0;
  /// Writes all of `bytes`, which must outlive the call. Throws Error{host} if the peer is gone.
  virtual Task<void> write_all(std::string_view bytes) = 0;
  /// Ends both directions; a read under way returns 0 or throws. Idempotent.
  virtual void close() noexcept = 0;
};

}  // namespace attest
