// Whole frames from a sender who leaves the cutting of segments and the checksums to hardware, as
// guests do whose monitor opens its TAP with a virtio-net header.
#pragma once
#include "lib/net/kernel/netlink.h"

#include <cstdint>
#include <string>

namespace attest::net {

/// A bridge with nothing on it but an interface, and a pair of interfaces behind which all frames
/// are whole: the kernel cuts and sums what it forwards to a port that says it cannot. Frames in
/// the other direction pass as they are. Some milliseconds; throws Error{host}, nothing is left
/// then.
class Cutter {
 public:
  /// Takes `interface`, which is up, from any bridge that it is on. What is made is of the kernel's
  /// `group`.
  Cutter(const std::string& interface, std::uint32_t group);
  Cutter(const Cutter&) = delete;
  Cutter& operator=(const Cutter&) = delete;
  /// Removes what it has made; the interface stays, on no bridge.
  ~Cutter();

  /// Where to read whole frames, and to write.
  const std::string& port() const noexcept { return port_; }

 private:
  Netlink netlink_;  ///< kept: removing must not fail for want of a descriptor
  std::string bridge_, port_;
};

}  // namespace attest::net
