// What a link does to frames, told to the kernel's traffic control. Three queues behind each other
// stand before an interface: tbf cuts large TCP segments into frames, drops those over the MTU and
// keeps the rate, netem does all that is random or late, bfifo is what waits for the rate.
#pragma once
#include "attest/network.h"
#include "lib/net/kernel/netlink_socket.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace attest::net {

/// An interface as it is now: one of the same name made later has another index.
struct Interface {
  int index = 0;
  int mtu = 1500;
  std::uint32_t group = 0;
};

/// Why the queues cannot do exactly what `impairment` says, or "" if they can. Pure. "Exactly" but
/// for this: a flipped bit may be in the Ethernet header too, and frames that a shaped link would
/// keep waiting may leave some 2 ms (at least a frame's time) early after a pause.
std::string why_not(const Impairment& impairment);

/// How long a frame may wait at most after `device` got an impairment without delay or rate in
/// place of this one. Pure.
std::chrono::microseconds longest_wait(const Interface& device, const Impairment& impairment);

/// What netem is told about frames that vanish and frames that come twice: it decides the latter
/// first, and the copy has its own chance to vanish.
struct NetemShares {
  double loss = 0, duplicate = 0;
};
/// Those with which `loss` of all frames vanish and `duplicate` of the others arrive twice; nullopt
/// if there are none.
std::optional<NetemShares> netem_shares(double loss, double duplicate);

/// Changes the network namespace that the thread is in when this is made. All throw Error{host}; a
/// missing part of the kernel is named with its module, "the kernel has no sch_netem (...)".
class Qdiscs {
 public:
  std::optional<Interface> find(const std::string& name);

  /// All that leaves `device` is impaired from now on, with choices that follow from `seed` where
  /// the kernel lets them (Linux 6.6). Frames that wait because of an earlier impairment keep their
  /// times, and those behind them do not overtake.
  void shape(const std::string& name, const Interface& device, const Impairment& impairment,
             std::uint64_t seed);
  /// Takes the queues away, with all frames that wait in them.
  void unshape(int device) noexcept;

  /// Makes an interface, up, that gives frames back to where they were taken from.
  void make_ifb(const std::string& name, std::uint32_t group);
  /// All that comes in by `device` goes through the queues of the ifb first.
  void redirect(const std::string& name, int device, int ifb);
  void stop_redirecting(int device) noexcept;
  /// Interfaces. Takes the kernel some 20 ms, for many as for one.
  void remove(const std::vector<std::string>& names) noexcept;

 private:
  NetlinkSocket socket_;
};

}  // namespace attest::net
