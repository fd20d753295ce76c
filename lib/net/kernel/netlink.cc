#include "lib/net/kernel/netlink.h"

#include "attest/error.h"
#include "lib/net/kernel/link_maker.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/cache.h>
#include <netlink/route/link.h>

#include <cerrno>
#include <exception>
#include <memory>

namespace attest::net {
namespace {

std::string quoted(const std::string& name) { return "'" + name + "'"; }

}  // namespace

void require_interface_name(const std::string& name, const std::string& attempt) {
  if (!name.empty() && name.size() <= longest_interface_name) return;
  throw Error(Error::Kind::host, attempt + ": the name has " + std::to_string(name.size()) +
                                     " bytes, the kernel takes 1 to " +
                                     std::to_string(longest_interface_name));
}

void Netlink::make(const Links& links) { LinkMaker(socket_, links).run(); }

void Netlink::make_bridge(const std::string& name, const std::string& mac, std::uint32_t group) {
  make({.bridges = {{.name = name, .mac = mac, .group = group, .addresses = {}}}});
}

void Netlink::make_veth(const Veth& veth) { make({.veths = {veth}}); }

void Netlink::make_pair(const Pair& pair) { make({.pairs = {pair}}); }

bool Netlink::add_address(const std::string& name, const std::string& address, int prefix) {
  auto text = address + "/" + std::to_string(prefix);
  int index = socket_.index_of(name);
  auto request = address_request(name, index, text);
  if (!index) socket_.fail(ENODEV, request.attempt());
  auto answer = socket_.ask(request);
  if (is_ipv6(address) && means_no_ipv6(answer.code)) return false;
  if (answer.code) socket_.fail(answer, request.attempt());
  return true;
}

void Netlink::set_up(const std::string& name) {
  socket_.send(change_link(name, "setting the interface " + quoted(name) + " up", IFF_UP, IFF_UP));
}

void Netlink::set_down(const std::string& name) {
  socket_.send(change_link(name, "setting the interface " + quoted(name) + " down", IFF_UP, 0));
}

void Netlink::set_master(const std::string& name, const std::string& bridge) {
  auto attempt = bridge.empty()
                     ? "taking the interface " + quoted(name) + " off its bridge"
                     : "putting the interface " + quoted(name) + " on the bridge " + quoted(bridge);
  int index = bridge.empty() ? 0 : socket_.index_of(bridge);
  if (!index && !bridge.empty()) socket_.fail(ENODEV, attempt);
  auto request = change_link(name, attempt);
  request.put(IFLA_MASTER, static_cast<std::uint32_t>(index));
  socket_.send(request);
}

void Netlink::quieten(const std::string& name) {
  auto attempt = "making a mere cable end of the interface " + quoted(name);
  if (!turn_ipv6_off(name)) socket_.ask(without_ipv6_address(name));
  auto request = change_link(name, attempt, IFF_NOARP, IFF_NOARP);
  filter_by_route(request);
  socket_.send(request);
}

Counters Netlink::counters(const std::string& name) {
  rtnl_link* found = nullptr;
  socket_.check(::rtnl_link_get_kernel(socket_.get(), 0, name.c_str(), &found),
                "reading the counters of the interface " + quoted(name));
  std::unique_ptr<rtnl_link, decltype(&::rtnl_link_put)> link(found, ::rtnl_link_put);
  return {.rx_frames = ::rtnl_link_get_stat(found, RTNL_LINK_RX_PACKETS),
          .tx_frames = ::rtnl_link_get_stat(found, RTNL_LINK_TX_PACKETS),
          .rx_dropped = ::rtnl_link_get_stat(found, RTNL_LINK_RX_DROPPED),
          .tx_dropped = ::rtnl_link_get_stat(found, RTNL_LINK_TX_DROPPED)};
}

void Netlink::remove(const std::string& name) noexcept {
  try {
    socket_.ask(remove_link(name));
  } catch (const std::exception&) {
    // without memory or a kernel that answers it stays until the namespace ends
  }
}

void Netlink::remove_group(std::uint32_t group) noexcept {
  try {
    Request request(RTM_DELLINK, 0, ifinfomsg{}, "removing a group of interfaces");
    request.put(IFLA_GROUP, group);
    socket_.ask(request);
  } catch (const std::exception&) {
    // as above
  }
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
