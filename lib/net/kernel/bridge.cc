#include "lib/net/kernel/bridge.h"

#include <utility>

namespace attest::net {

Bridge::Bridge(std::string name, const Nic& self, std::uint32_t group)
    : name_(std::move(name)), group_(group) {
  netlink_.make_bridge(name_, self.mac, group_);
  try {
    netlink_.add_address(name_, self.ipv4, 24);
    netlink_.add_address(name_, self.ipv6, 64);
  } catch (...) {
    netlink_.remove(name_);
    throw;
  }
}

}  // namespace attest::net
