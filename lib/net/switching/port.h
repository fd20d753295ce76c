// One peer of a Switch, whatever carries its frames: a stream from QEMU, an interface of the
// kernel, a VDE plug. Sending never waits: what the carrier does not take is queued, what the
// queue does not take is dropped.
#pragma once
#include "lib/async/net.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace attest::net {

/// Counters of one port, seen from the switch.
struct PortStats {
  int port = 0;                  ///< from 1, in the order of joining; never used again
  int member = 0;                ///< whose port it is
  std::uint64_t frames_in = 0;   ///< received from the peer, whole
  std::uint64_t frames_out = 0;  ///< handed to the peer's socket or queue
  std::uint64_t dropped = 0;     ///< meant for the peer, lost because its queue was full
  std::uint64_t discarded = 0;   ///< received, forwarded to nobody: too short, or too long for QEMU
  std::uint64_t faulted = 0;     ///< from or to the peer, taken away by rules
  std::size_t queued_bytes = 0;  ///< waiting for the peer to read
};

/// All calls happen on the loop thread. A frame is passed on with its length in front, 4 bytes
/// big-endian, as streams carry it.
class Port : public std::enable_shared_from_this<Port> {
 public:
  virtual ~Port() = default;

  /// What one receive() came to. `broken`: what came is no frames, and nothing after it can be.
  enum class Received { frames, nothing_yet, end, broken };
  /// Reads what there is, without waiting, into `buffer` (256 KiB or more), and appends the whole
  /// frames to `framed`, if any: they are valid until the next call, and as long as the buffer.
  virtual Received receive(std::span<char> buffer, std::vector<std::string_view>& framed) = 0;
  /// Returns when receive() is worth a call, also after close().
  virtual Task<void> readable() = 0;

  /// Notes a frame for the next flush(), until when it must stay valid.
  virtual void add(std::string_view framed) = 0;
  virtual bool has_unflushed() const noexcept = 0;
  /// Sends what was added, in few system calls, and keeps what the peer does not take.
  virtual void flush() = 0;
  virtual void close() noexcept = 0;

  /// frames_out, dropped, queued_bytes; the switch knows the rest.
  virtual PortStats sent() const = 0;
};

}  // namespace attest::net
