// A VLAN in the kernel: a bridge in this network namespace, on which the test process has its own
// addresses.
#pragma once
#include "lib/net/netlink.h"
#include "lib/net/plan.h"

#include <string>

namespace attest::net {

/// Owns a bridge.
class Bridge {
 public:
  /// Makes it, up and with the MAC and the addresses of `self`; without the one of IPv6 where the
  /// kernel has none. Short calls to the kernel. Throws Error{host}; nothing is left then.
  Bridge(std::string name, const Nic& self);
  Bridge(const Bridge&) = delete;
  Bridge& operator=(const Bridge&) = delete;
  /// Removes it, whatever is plugged in. Takes up to some tens of milliseconds.
  ~Bridge() { netlink_.remove(name_); }

  const std::string& name() const noexcept { return name_; }

 private:
  Netlink netlink_;  ///< kept: removing must not fail for want of a descriptor
  std::string name_;
};

}  // namespace attest::net
