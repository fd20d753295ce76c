// The layer-2 switch of one VLAN, in this process, joined without root and without /dev/net/tun. It
// learns where stations are, floods the rest, does to frames what the rules say, and never lets one
// peer wait for another.
#pragma once
#include "lib/base/fd.h"
#include "lib/net/rules.h"
#include "lib/net/seen.h"
#include "lib/net/switching/port.h"

#include <memory>
#include <string>
#include <vector>

namespace attest::net {

/// QEMU ends a connection on which a longer frame arrives (NET_BUFSIZE in its net/net.h), so one
/// guest could unplug another; such frames are discarded.
inline constexpr std::size_t max_forwarded_frame = 4096 + 65536;

/// Counters of a switch; the sums include ports that have left.
struct SwitchStats {
  std::uint64_t frames_in = 0, frames_out = 0, dropped = 0, discarded = 0, faulted = 0;
  std::uint64_t malformed = 0;   ///< peers put out because what they sent was no frames
  std::vector<PortStats> ports;  ///< those joined now, by number
};

/// All calls happen on the loop thread, construction and destruction too. 802.1Q frames pass as
/// they are; each tagged VLAN learns its own stations.
class Switch {
 public:
  /// `seed` is what the rules' random choices begin with.
  explicit Switch(asio::any_io_executor loop, std::uint64_t seed = 0);
  Switch(const Switch&) = delete;
  Switch& operator=(const Switch&) = delete;
  /// Ends all connections and removes the sockets. Frames that are delayed are lost.
  ~Switch();

  /// Listens on a unix socket for peers that speak QEMU's stream framing; all that connect are
  /// `member`. Bound at once: peers can connect as soon as this returns. Throws Error{host} if it
  /// cannot be bound or is too long.
  void listen(std::string socket_path, Member member);
  /// Joins a port as `member`; returns its number. It leaves when its peer ends.
  int join(std::shared_ptr<Port> port, Member member);
  /// Joins a connected stream socket in the same framing.
  int join(base::Fd stream, Member member);
  /// Closes a port that join() returned; fine if it has left.
  void leave(int port);

  /// Takes effect with the next frame that comes in. Delayed frames keep their time; where the
  /// rules block them by then they are lost.
  void set_rules(Rules rules);
  /// Shows `watcher` what passes until unwatch() of the number returned. It must not call the
  /// switch, nor throw.
  int watch(Watcher watcher);
  void unwatch(int number);
  SwitchStats stats() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with the coroutines that serve the ports
};

}  // namespace attest::net
