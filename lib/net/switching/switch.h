// The layer-2 switch of one VLAN, in this process: QEMU joins it with `-netdev stream` on a unix
// socket, without root and without /dev/net/tun. It learns where stations are, floods the rest,
// and never lets one peer wait for another.
#pragma once
#include "lib/net/switching/stream_port.h"

#include <memory>
#include <string>
#include <vector>

namespace attest::net {

/// QEMU ends a connection on which a longer frame arrives (NET_BUFSIZE in its net/net.h), so one
/// guest could unplug another; such frames are discarded.
inline constexpr std::size_t max_forwarded_frame = 4096 + 65536;

/// Counters of a switch; the sums include ports that have left.
struct SwitchStats {
  std::uint64_t frames_in = 0, frames_out = 0, dropped = 0, discarded = 0;
  std::uint64_t malformed = 0;   ///< peers put out for a length of 0 or above max_frame
  std::vector<PortStats> ports;  ///< those joined now, by number
};

/// Listens from construction to destruction. All calls happen on the loop thread, construction
/// and destruction too. 802.1Q frames pass as they are; each tagged VLAN learns its own stations.
class Switch {
 public:
  /// Binds `socket_path` at once, so that peers can connect as soon as this returns. Throws
  /// Error{host} if it cannot be bound or is too long.
  Switch(asio::any_io_executor loop, std::string socket_path);
  Switch(const Switch&) = delete;
  Switch& operator=(const Switch&) = delete;
  /// Ends all connections and removes the socket.
  ~Switch();

  const std::string& socket() const noexcept;
  /// Joins `peer`, a connected stream socket that speaks the same framing; returns its port's
  /// number. It leaves when the other end closes.
  int attach(base::Fd peer);
  SwitchStats stats() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with the coroutines that serve the ports
};

}  // namespace attest::net
