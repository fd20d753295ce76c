#include "lib/net/kernel/request.h"

#include "attest/error.h"
#include "lib/net/kernel/netlink.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/addr.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <new>
#include <utility>

namespace attest::net {
namespace {

// Throws unless all of it fitted.
void need(bool fitted) {
  if (!fitted) throw std::bad_alloc();
}

}  // namespace

LinkAddress parse_address(const std::string& text, int family, const std::string& attempt) {
  nl_addr* address = nullptr;
  if (::nl_addr_parse(text.c_str(), family, &address) < 0)
    throw Error(Error::Kind::host, attempt + ": '" + text + "' is no address");
  return {address, ::nl_addr_put};
}

Request::Request(int type, int flags, const void* header, std::size_t size, std::string attempt)
    : message_(::nlmsg_alloc_simple(type, flags), ::nlmsg_free), attempt_(std::move(attempt)) {
  need(message_ != nullptr);
  append(header, size);
}

nlmsghdr* Request::header() const noexcept { return ::nlmsg_hdr(message_.get()); }

void Request::append(const void* bytes, std::size_t size) {
  need(::nlmsg_append(message_.get(), const_cast<void*>(bytes), size, NLMSG_ALIGNTO) == 0);
}

Request& Request::put(int attribute, const std::string& text) {
  need(::nla_put_string(message_.get(), attribute, text.c_str()) == 0);
  return *this;
}

Request& Request::put(int attribute, std::uint32_t number) {
  need(::nla_put_u32(message_.get(), attribute, number) == 0);
  return *this;
}

Request& Request::put_u8(int attribute, std::uint8_t number) {
  need(::nla_put_u8(message_.get(), attribute, number) == 0);
  return *this;
}

Request& Request::put(int attribute, const LinkAddress& address) {
  need(::nla_put_addr(message_.get(), attribute, address.get()) == 0);
  return *this;
}

Request& Request::nest(int attribute, const std::function<void()>& inner) {
  auto* start = ::nla_nest_start(message_.get(), attribute);
  need(start != nullptr);
  inner();
  ::nla_nest_end(message_.get(), start);
  return *this;
}

Request change_link(const std::string& name, std::string attempt, unsigned changed,
                    unsigned flags) {
  ifinfomsg header{};
  header.ifi_flags = flags;
  header.ifi_change = changed;
  Request request(RTM_NEWLINK, 0, header, std::move(attempt));
  request.put(IFLA_IFNAME, name);
  return request;
}

Request create_link(const std::string& name, const std::string& kind, std::string attempt,
                    const std::function<void(Request&)>& data) {
  require_interface_name(name, attempt);
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{}, std::move(attempt));
  request.put(IFLA_IFNAME, name);
  request.nest(IFLA_LINKINFO, [&] {
    request.put(IFLA_INFO_KIND, kind);
    if (data) request.nest(IFLA_INFO_DATA, [&] { data(request); });
  });
  return request;
}

Request remove_link(const std::string& name) {
  Request request(RTM_DELLINK, 0, ifinfomsg{}, "removing the interface '" + name + "'");
  request.put(IFLA_IFNAME, name);
  return request;
}

}  // namespace attest::net
