#include "lib/net/kernel/bridge.h"

#include <utility>

namespace attest::net {

Bridge::Bridge(std::string name, const std::string& mac, const std::optional<Nic>& self,
               std::uint32_t group)
    : name_(std::move(name)), group_(group) {
  BridgeLink bridge{.name = name_, .mac = mac, .group = group_, .addresses = {}};
  if (self) bridge.addresses = {self->ipv4 + "/24", self->ipv6 + "/64"};
  Links links;
  links.bridges.push_back(std::move(bridge));
  netlink_.make(links);
}

}  // namespace attest::net
