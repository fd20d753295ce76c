#include "lib/net/machine_plugs.h"

#include "lib/net/kernel/netlink.h"
#include "lib/net/kernel/tap.h"

namespace attest::net {

void MachinePlugs::plug_veth(const NetworkAttachment& nic, const std::string& guest_name,
                             int netns) {
  auto& segment = segments_(nic.vlan);
  Netlink netlink;
  netlink.make_veth({.host_name = nic.interface,
                     .bridge = "",
                     .guest_name = guest_name,
                     .guest_mac = nic.mac,
                     .guest_netns = netns,
                     .group = group_});
  try {
    segment.add_interface(nic.interface, member_, guest_name, netns);
  } catch (...) {
    netlink.remove(nic.interface);
    throw;
  }
}

base::Fd MachinePlugs::tap(const NetworkAttachment& nic, bool persistent, bool vnet_header) {
  auto& segment = segments_(nic.vlan);
  auto made = net::open_tap(nic.interface, persistent, vnet_header);
  Netlink netlink;
  try {
    Links links;
    links.ends.push_back({.name = nic.interface, .bridge = "", .group = group_});
    netlink.make(links);
    segment.add_tap(nic.interface, member_, vnet_header);
  } catch (...) {
    netlink.remove(nic.interface);
    throw;
  }
  return made;
}

int MachinePlugs::open_tap(const NetworkAttachment& nic, bool vnet_header) {
  return tap(nic, false, vnet_header).release();
}

// Who opens it by name may ask for a header, and leave cutting to us.
void MachinePlugs::make_tap(const NetworkAttachment& nic) { tap(nic, true, true); }

void MachinePlugs::unplug(const NetworkAttachment& nic) noexcept {
  try {
    segments_(nic.vlan).remove_interface(member_);
    Netlink().remove(nic.interface);
  } catch (const Error&) {
    // No such VLAN, or no netlink: then there is no interface either, or it goes with the
    // namespace.
  }
}

}  // namespace attest::net
