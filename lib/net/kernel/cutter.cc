#include "lib/net/kernel/cutter.h"

#include "lib/net/kernel/offload.h"

#include <cstdio>
#include <functional>

namespace attest::net {
namespace {

// Names of interfaces are full: at99999v254n253. A letter for the last 'n' makes others of the same
// length that nothing else has.
std::string sibling(const std::string& interface, char letter) {
  auto name = interface;
  auto at = name.rfind('n');
  if (at == name.npos || name.size() < longest_interface_name) return name + letter;
  name[at] = letter;
  return name;
}

// The bridge is nobody's card; an address that stays keeps it from taking the guest's.
std::string some_mac(const std::string& name) {
  auto number = std::hash<std::string>()(name);
  char text[18];
  std::snprintf(text, sizeof text, "02:%02x:%02x:%02x:%02x:%02x", unsigned(number & 255),
                unsigned(number >> 8 & 255), unsigned(number >> 16 & 255),
                unsigned(number >> 24 & 255), unsigned(number >> 32 & 255));
  return text;
}

}  // namespace

Cutter::Cutter(const std::string& interface, std::uint32_t group)
    : bridge_(sibling(interface, 'b')), port_(sibling(interface, 'p')) {
  auto sender = sibling(interface, 'c');
  netlink_.remove(bridge_);  // of a machine that went without a word
  netlink_.remove(port_);
  netlink_.make_bridge(bridge_, some_mac(bridge_), group);
  try {
    netlink_.quieten(bridge_);
    netlink_.make_pair(
        {.name = sender, .peer = port_, .group = group, .mac = "", .bridge = bridge_});
    disable_offloads(sender);
    netlink_.set_master(interface, bridge_);
    netlink_.quieten(interface);
  } catch (...) {
    netlink_.remove(port_);
    netlink_.remove(bridge_);
    throw;
  }
}

Cutter::~Cutter() {
  netlink_.remove(port_);
  netlink_.remove(bridge_);
}

}  // namespace attest::net
