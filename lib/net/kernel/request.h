// One message to rtnetlink, put together attribute by attribute. Used by hand where libnl has no
// setter, and where several messages go to the kernel at once.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

struct nl_addr;
struct nl_msg;
struct nlmsghdr;

namespace attest::net {

using LinkAddress = std::unique_ptr<nl_addr, void (*)(nl_addr*)>;

/// Reads an address of `family` (AF_LLC: a MAC; AF_UNSPEC: IPv4 or IPv6). Throws Error{host}
/// "<attempt>: '<text>' is no address".
LinkAddress parse_address(const std::string& text, int family, const std::string& attempt);

/// A request and what it is for, which errors begin with. Everything throws std::bad_alloc when
/// there is no memory.
class Request {
 public:
  /// `flags` without NLM_F_REQUEST and NLM_F_ACK, which whoever sends it adds.
  template <class Header>
  Request(int type, int flags, const Header& header, std::string attempt)
      : Request(type, flags, &header, sizeof header, std::move(attempt)) {}

  Request& put(int attribute, const std::string& text);
  Request& put(int attribute, std::uint32_t number);
  Request& put_u8(int attribute, std::uint8_t number);
  Request& put(int attribute, const LinkAddress& address);
  /// Puts what `inner` puts (and first `header`, if there is one) into one attribute.
  Request& nest(int attribute, const std::function<void()>& inner);
  template <class Header>
  Request& nest(int attribute, const Header& header, const std::function<void()>& inner) {
    return nest(attribute, [&] {
      append(&header, sizeof header);
      inner();
    });
  }

  const std::string& attempt() const noexcept { return attempt_; }
  nlmsghdr* header() const noexcept;

 private:
  Request(int type, int flags, const void* header, std::size_t size, std::string attempt);
  void append(const void* bytes, std::size_t size);

  std::unique_ptr<nl_msg, void (*)(nl_msg*)> message_;
  std::string attempt_;
};

/// A change of the interface `name`, which errors call `attempt`: flags of `changed` become those
/// of `flags`. Attributes may follow.
Request change_link(const std::string& name, std::string attempt, unsigned changed = 0,
                    unsigned flags = 0);
/// The making of an interface of a kind ("veth"); `data`, if any, puts what the kind has of its
/// own into the request that it is given. More attributes may follow. Throws Error{host} for a name
/// that is too long.
Request create_link(const std::string& name, const std::string& kind, std::string attempt,
                    const std::function<void(Request&)>& data = {});
/// The removal of an interface.
Request remove_link(const std::string& name);

}  // namespace attest::net
