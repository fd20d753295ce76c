#include "lib/net/kernel/netlink.h"

#include "lib/base/file.h"
#include "lib/base/sys_error.h"

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netlink/addr.h>
#include <netlink/attr.h>
#include <netlink/cache.h>
#include <netlink/msg.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>

#include <cerrno>
#include <memory>
#include <new>

namespace attest::net {
namespace {

using Link = std::unique_ptr<rtnl_link, decltype(&::rtnl_link_put)>;
using LinkAddress = std::unique_ptr<nl_addr, decltype(&::nl_addr_put)>;

std::string quoted(const std::string& name) { return "'" + name + "'"; }

// libnl would cut a long name, and then two interfaces have one.
void require_name(const std::string& name, const std::string& attempt) {
  if (!name.empty() && name.size() <= longest_interface_name) return;
  throw Error(Error::Kind::host, attempt + ": the name has " + std::to_string(name.size()) +
                                     " bytes, the kernel takes 1 to " +
                                     std::to_string(longest_interface_name));
}

LinkAddress parse(const std::string& text, int family, const std::string& attempt) {
  nl_addr* address = nullptr;
  if (::nl_addr_parse(text.c_str(), family, &address) < 0)
    throw Error(Error::Kind::host, attempt + ": '" + text + "' is no address");
  return {address, ::nl_addr_put};
}

Link make_link(rtnl_link* made = ::rtnl_link_alloc()) {
  if (!made) throw std::bad_alloc();
  return {made, ::rtnl_link_put};
}

Link find(NetlinkSocket& socket, const std::string& name, const std::string& attempt) {
  rtnl_link* found = nullptr;
  socket.check(::rtnl_link_get_kernel(socket.get(), 0, name.c_str(), &found), attempt);
  return make_link(found);
}

// A namespace's /proc/sys is its tasks' own. Best effort: without IPv6 there is no such file, and a
// container may have it read-only, where all that follows is a little more noise on the wire.
void set_ipv6(const std::string& name, const std::string& key, const std::string& value) {
  try {
    base::write_once("/proc/sys/net/ipv6/conf/" + name + "/" + key, value);
  } catch (const Error&) {
    // as said above
  }
}

// Throws unless all of it fitted.
void put(bool fitted) {
  if (!fitted) throw std::bad_alloc();
}

using Message = std::unique_ptr<nl_msg, void (*)(nl_msg*)>;

Message link_request(int type, int flags) {
  Message message(::nlmsg_alloc_simple(type, flags), ::nlmsg_free);
  if (!message) throw std::bad_alloc();
  ifinfomsg header{};
  put(::nlmsg_append(message.get(), &header, sizeof header, NLMSG_ALIGNTO) == 0);
  return message;
}

}  // namespace

void Netlink::make_bridge(const std::string& name, const std::string& mac, std::uint32_t group) {
  auto attempt = "making the bridge " + quoted(name);
  require_name(name, attempt);
  auto address = parse(mac, AF_LLC, attempt);
  auto message = link_request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  // By hand: libnl has no setter for the first three settings of a bridge.
  put(::nla_put_string(message.get(), IFLA_IFNAME, name.c_str()) == 0);
  put(::nla_put_addr(message.get(), IFLA_ADDRESS, address.get()) == 0);
  put(::nla_put_u32(message.get(), IFLA_GROUP, group) == 0);
  auto* info = ::nla_nest_start(message.get(), IFLA_LINKINFO);
  put(info && ::nla_put_string(message.get(), IFLA_INFO_KIND, "bridge") == 0);
  auto* data = ::nla_nest_start(message.get(), IFLA_INFO_DATA);
  put(data && ::nla_put_u32(message.get(), IFLA_BR_STP_STATE, 0) == 0);
  put(::nla_put_u32(message.get(), IFLA_BR_FORWARD_DELAY, 0) == 0);
  put(::nla_put_u8(message.get(), IFLA_BR_MCAST_SNOOPING, 0) == 0);
  ::nla_nest_end(message.get(), data);
  ::nla_nest_end(message.get(), info);
  socket_.send(std::move(message), attempt);
  set_ipv6(name, "accept_dad", "0");
  set_ipv6(name, "accept_ra", "0");
  try {
    set_up(name);
  } catch (...) {
    remove(name);
    throw;
  }
}

bool Netlink::add_address(const std::string& name, const std::string& text, int prefix) {
  auto attempt = "giving " + quoted(name) + " the address " + text + "/" + std::to_string(prefix);
  auto link = find(socket_, name, attempt);
  auto local = parse(text, AF_UNSPEC, attempt);
  ::nl_addr_set_prefixlen(local.get(), prefix);
  bool ipv6 = ::nl_addr_get_family(local.get()) == AF_INET6;
  std::unique_ptr<rtnl_addr, decltype(&::rtnl_addr_put)> address(::rtnl_addr_alloc(),
                                                                 ::rtnl_addr_put);
  if (!address) throw std::bad_alloc();
  ::rtnl_addr_set_ifindex(address.get(), ::rtnl_link_get_ifindex(link.get()));
  socket_.check(::rtnl_addr_set_local(address.get(), local.get()), attempt);
  // Otherwise the kernel asks around for a second or two before it answers for the address.
  if (ipv6) ::rtnl_addr_set_flags(address.get(), IFA_F_NODAD);
  int code = socket_.code_of(::rtnl_addr_add(socket_.get(), address.get(), NLM_F_EXCL));
  if (ipv6 && (code == EACCES || code == EOPNOTSUPP || code == EAFNOSUPPORT)) return false;
  if (code) socket_.fail(code, attempt);
  return true;
}

void Netlink::make_veth(const Veth& veth) {
  auto attempt = "making the link " + quoted(veth.host_name) + " on the bridge " +
                 quoted(veth.bridge) + ", for " + quoted(veth.guest_name) + " of a container";
  require_name(veth.host_name, attempt);
  require_name(veth.guest_name, attempt);
  auto bridge = find(socket_, veth.bridge, attempt);
  auto pair = make_link(::rtnl_link_veth_alloc());
  ::rtnl_link_set_name(pair.get(), veth.host_name.c_str());
  ::rtnl_link_set_master(pair.get(), ::rtnl_link_get_ifindex(bridge.get()));
  ::rtnl_link_set_group(pair.get(), ::rtnl_link_get_group(bridge.get()));
  auto guest = make_link(::rtnl_link_veth_get_peer(pair.get()));
  ::rtnl_link_set_name(guest.get(), veth.guest_name.c_str());
  // Made in the guest's namespace, it never has another name that could be taken here.
  ::rtnl_link_set_ns_fd(guest.get(), veth.guest_netns);
  if (!veth.guest_mac.empty()) {
    auto mac = parse(veth.guest_mac, AF_LLC, attempt);
    ::rtnl_link_set_addr(guest.get(), mac.get());
  }
  socket_.check(::rtnl_link_add(socket_.get(), pair.get(), NLM_F_CREATE | NLM_F_EXCL), attempt);
  // Before it is up: it would take an address and send its own packets to the guest.
  set_ipv6(veth.host_name, "disable_ipv6", "1");
  try {
    set_up(veth.host_name);
  } catch (...) {
    remove(veth.host_name);
    throw;
  }
}

void Netlink::set_up(const std::string& name) {
  auto attempt = "setting the interface " + quoted(name) + " up";
  auto link = find(socket_, name, attempt), change = make_link();
  ::rtnl_link_set_flags(change.get(), IFF_UP);
  socket_.check(::rtnl_link_change(socket_.get(), link.get(), change.get(), 0), attempt);
}

void Netlink::remove(const std::string& name) noexcept {
  auto link = make_link();
  ::rtnl_link_set_name(link.get(), name.c_str());
  socket_.code_of(::rtnl_link_delete(socket_.get(), link.get()));
}

void Netlink::remove_group(std::uint32_t group) noexcept {
  auto message = link_request(RTM_DELLINK, 0);
  put(::nla_put_u32(message.get(), IFLA_GROUP, group) == 0);
  socket_.code_of(::nl_send_sync(socket_.get(), message.release()));
}

std::vector<std::string> Netlink::names(std::string_view prefix) {
  nl_cache* listed = nullptr;
  socket_.check(::rtnl_link_alloc_cache(socket_.get(), AF_UNSPEC, &listed),
                "listing the network interfaces");
  std::unique_ptr<nl_cache, decltype(&::nl_cache_free)> cache(listed, ::nl_cache_free);
  std::vector<std::string> found;
  for (auto* item = ::nl_cache_get_first(listed); item; item = ::nl_cache_get_next(item)) {
    std::string name = ::rtnl_link_get_name(reinterpret_cast<rtnl_link*>(item));
    if (name.starts_with(prefix)) found.push_back(name);
  }
  return found;
}

}  // namespace attest::net
