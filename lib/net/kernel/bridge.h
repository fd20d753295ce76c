// A VLAN in the kernel: a bridge in this network namespace, on which the test process has its own
// addresses.
#pragma once
#include "lib/net/kernel/netlink.h"
#include "lib/net/plan.h"

#include <cstdint>
#include <optional>
#include <string>

namespace attest::net {

/// Owns a bridge.
class Bridge {
 public:
  /// Makes it, up and with the MAC `mac`, and the addresses of `self` if the test process is on it;
  /// without the one of IPv6 where the kernel has none. It and what is plugged in are of the
  /// kernel's `group` of interfaces. Takes a millisecond. Throws Error{host}; nothing is left then.
  Bridge(std::string name, const std::string& mac, const std::optional<Nic>& self,
         std::uint32_t group);
  Bridge(const Bridge&) = delete;
  Bridge& operator=(const Bridge&) = delete;
  /// Removes it, whatever is plugged in, which stays. Takes some 20 ms, if it is there still.
  ~Bridge() { netlink_.remove(name_); }

  /// Removes all bridges of its group and all links on them, this one too; in some 40 ms, however
  /// many they are.
  void remove_group() noexcept { netlink_.remove_group(group_); }

 private:
  Netlink netlink_;  ///< kept: removing must not fail for want of a descriptor
  std::string name_;
  std::uint32_t group_;
};

}  // namespace attest::net
