#include "lib/net/kernel/bridge.h"

#include <utility>

namespace attest::net {

Bridge::Bridge(std::string name, const Nic& self, std::uint32_t group)
    : name_(std::move(name)), group_(group) {
  netlink_.make({.bridges = {{.name = name_,
                              .mac = self.mac,
                              .group = group_,
                              .addresses = {self.ipv4 + "/24", self.ipv6 + "/64"}}}});
}

}  // namespace attest::net
