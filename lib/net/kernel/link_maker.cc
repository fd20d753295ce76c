#include "lib/net/kernel/link_maker.h"

#include "attest/error.h"
#include "lib/base/file.h"

#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netlink/addr.h>
#include <netlink/route/link.h>

#include <cerrno>
#include <exception>
#include <filesystem>
#include <utility>

namespace attest::net {
namespace {

std::string quoted(const std::string& name) { return "'" + name + "'"; }

std::string ipv6_settings(const std::string& name) { return "/proc/sys/net/ipv6/conf/" + name; }

bool set_ipv6(const std::string& name, const std::string& key, const std::string& value) {
  try {
    base::write_once(ipv6_settings(name) + "/" + key, value);
    return true;
  } catch (const Error&) {
    return false;  // it costs a little more noise on the wire
  }
}

std::string attempt_of(const BridgeLink& bridge) {
  return "making the bridge " + quoted(bridge.name);
}

std::string attempt_of(const Veth& veth) {
  auto where = veth.bridge.empty() ? std::string() : " on the bridge " + quoted(veth.bridge);
  return "making the link " + quoted(veth.host_name) + where + ", for " + quoted(veth.guest_name) +
         " of a container";
}

std::string attempt_of(const Pair& pair) {
  return "making the pair of " + quoted(pair.name) + " and " + quoted(pair.peer);
}

std::string attempt_of(const CableEnd& cable) {
  if (cable.bridge.empty()) return "preparing the interface " + quoted(cable.name);
  return "plugging the interface " + quoted(cable.name) + " into the bridge " +
         quoted(cable.bridge);
}

void put_mac(Request& request, const std::string& mac) {
  if (!mac.empty()) request.put(IFLA_ADDRESS, parse_address(mac, AF_LLC, request.attempt()));
}

Request creation(const BridgeLink& bridge) {
  auto request = create_link(bridge.name, "bridge", attempt_of(bridge), [](Request& settings) {
    settings.put(IFLA_BR_STP_STATE, 0U)
        .put(IFLA_BR_FORWARD_DELAY, 0U)
        .put_u8(IFLA_BR_MCAST_SNOOPING, 0);
  });
  put_mac(request, bridge.mac);
  request.put(IFLA_GROUP, bridge.group);
  return request;
}

Request creation(const Veth& veth) {
  auto attempt = attempt_of(veth);
  require_interface_name(veth.guest_name, attempt);
  return create_link(veth.host_name, "veth", attempt, [&](Request& settings) {
    settings.nest(VETH_INFO_PEER, ifinfomsg{}, [&] {
      settings.put(IFLA_IFNAME, veth.guest_name);
      put_mac(settings, veth.guest_mac);
      // Made in the guest's namespace, it never has another name that could be taken here.
      settings.put(IFLA_NET_NS_FD, static_cast<std::uint32_t>(veth.guest_netns));
    });
  });
}

Request creation(const Pair& pair) {
  auto attempt = attempt_of(pair);
  require_interface_name(pair.peer, attempt);
  auto request = create_link(pair.name, "veth", attempt, [&](Request& settings) {
    settings.nest(VETH_INFO_PEER, ifinfomsg{}, [&] { settings.put(IFLA_IFNAME, pair.peer); });
  });
  put_mac(request, pair.mac);
  return request;
}

}  // namespace

Request address_request(const std::string& name, int index, const std::string& text) {
  auto attempt = "giving " + quoted(name) + " the address " + text;
  auto address = parse_address(text, AF_UNSPEC, attempt);
  ifaddrmsg header{};
  header.ifa_family = static_cast<std::uint8_t>(::nl_addr_get_family(address.get()));
  header.ifa_prefixlen = static_cast<std::uint8_t>(::nl_addr_get_prefixlen(address.get()));
  header.ifa_index = static_cast<std::uint32_t>(index);
  // Otherwise the kernel asks around for a second or two before it answers for the address.
  if (header.ifa_family == AF_INET6) header.ifa_flags = IFA_F_NODAD;
  Request request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, header, attempt);
  request.put(IFA_LOCAL, address).put(IFA_ADDRESS, address);
  return request;
}

bool is_ipv6(const std::string& address) { return address.find(':') != std::string::npos; }

bool means_no_ipv6(int code) {
  return code == EACCES || code == EOPNOTSUPP || code == EAFNOSUPPORT;
}

bool turn_ipv6_off(const std::string& name) {
  return set_ipv6(name, "disable_ipv6", "1") || !std::filesystem::exists(ipv6_settings(name));
}

Request without_ipv6_address(const std::string& name) {
  auto request = change_link(name, "keeping IPv6 off the interface " + quoted(name));
  request.nest(IFLA_AF_SPEC, [&] {
    request.nest(AF_INET6,
                 [&] { request.put_u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE); });
  });
  return request;
}

void filter_by_route(Request& change) {
  change.nest(IFLA_AF_SPEC, [&] {
    change.nest(AF_INET, [&] {
      change.nest(IFLA_INET_CONF, [&] { change.put(IPV4_DEVCONF_RP_FILTER, 1U); });
    });
  });
}

void LinkMaker::run() {
  collect_ends();
  find_bridges();
  try {
    perform(creations());
    number_bridges();
    perform(settings());
  } catch (...) {
    undo();
    throw;
  }
}

void LinkMaker::collect_ends() {
  auto add = [&](const std::string& name, const std::string& bridge, std::uint32_t group,
                 const std::string& attempt) {
    ends_.push_back({{.name = name, .bridge = bridge, .group = group}, attempt});
  };
  for (auto& veth : links_.veths) add(veth.host_name, veth.bridge, veth.group, attempt_of(veth));
  for (auto& pair : links_.pairs) {
    add(pair.name, pair.bridge, pair.group, attempt_of(pair));
    add(pair.peer, "", pair.group, attempt_of(pair));
  }
  for (auto& cable : links_.ends) add(cable.name, cable.bridge, cable.group, attempt_of(cable));
}

void LinkMaker::find_bridges() {
  for (auto& made : links_.bridges) bridges_[made.name].group = made.group;
  for (auto& end : ends_) {
    auto& name = end.cable.bridge;
    if (name.empty() || bridges_.contains(name)) continue;
    rtnl_link* found = nullptr;
    socket_.check(::rtnl_link_get_kernel(socket_.get(), 0, name.c_str(), &found), end.attempt);
    bridges_[name] = {static_cast<std::uint32_t>(::rtnl_link_get_ifindex(found)),
                      ::rtnl_link_get_group(found)};
    ::rtnl_link_put(found);
  }
}

// Plugging in takes the kernel's number of a bridge, which it has once it is made.
void LinkMaker::number_bridges() {
  for (auto& made : links_.bridges)
    bridges_[made.name].index = static_cast<std::uint32_t>(socket_.index_of(made.name));
}

std::vector<LinkMaker::Step> LinkMaker::creations() const {
  std::vector<Step> steps;
  for (auto& bridge : links_.bridges) steps.push_back({creation(bridge), bridge.name});
  for (auto& veth : links_.veths) steps.push_back({creation(veth), veth.host_name});
  for (auto& pair : links_.pairs) steps.push_back({creation(pair), pair.name});
  return steps;
}

std::vector<LinkMaker::Step> LinkMaker::settings() {
  std::vector<Step> steps;
  for (auto& bridge : links_.bridges) {
    set_ipv6(bridge.name, "accept_dad", "0");
    set_ipv6(bridge.name, "accept_ra", "0");
    steps.push_back({change_link(bridge.name, attempt_of(bridge), IFF_UP, IFF_UP), {}});
    for (auto& address : bridge.addresses) {
      auto index = static_cast<int>(bridges_[bridge.name].index);
      steps.push_back({address_request(bridge.name, index, address), {}, is_ipv6(address)});
    }
  }
  for (auto& [cable, attempt] : ends_) {
    // All this before it is up: it would take an address and send packets of its own.
    if (!turn_ipv6_off(cable.name)) steps.push_back({without_ipv6_address(cable.name), {}, true});
    auto change = change_link(cable.name, attempt, IFF_UP | IFF_NOARP, IFF_UP | IFF_NOARP);
    auto group = cable.group;
    if (!cable.bridge.empty()) {
      auto& bridge = bridges_[cable.bridge];
      change.put(IFLA_MASTER, bridge.index);
      if (!group) group = bridge.group;
    }
    if (group) change.put(IFLA_GROUP, group);
    filter_by_route(change);
    steps.push_back({std::move(change), {}});
  }
  return steps;
}

void LinkMaker::perform(std::vector<Step> steps) {
  std::vector<Request> requests;
  requests.reserve(steps.size());
  for (auto& step : steps) requests.push_back(std::move(step.request));
  auto answers = socket_.exchange(requests);
  const NetlinkSocket::Answer* refusal = nullptr;
  std::size_t refused = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    auto& answer = answers[i];
    if (answer.code == 0 && !steps[i].made.empty()) made_.push_back(steps[i].made);
    if (answer.code == 0 || (steps[i].ipv6_or_less && means_no_ipv6(answer.code))) continue;
    if (!std::exchange(refusal, refusal ? refusal : &answer)) refused = i;
  }
  if (refusal) socket_.fail(*refusal, requests[refused].attempt());
}

void LinkMaker::undo() noexcept {
  try {
    std::vector<Request> requests;
    for (auto& name : made_) requests.push_back(remove_link(name));
    for (auto& cable : links_.ends) {
      requests.push_back(change_link(cable.name, "setting it down", IFF_UP, 0));
      requests.back().put(IFLA_MASTER, 0U);
    }
    socket_.exchange(requests);
  } catch (const std::exception&) {
    // the failure that led here is the one to tell of
  }
}

}  // namespace attest::net
