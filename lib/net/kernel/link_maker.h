// How Netlink::make() makes links, and the requests that it shares with Netlink's single changes.
// All steps of a kind go to the kernel together: first what creates, then what addresses, plugs in
// and sets up.
#pragma once
#include "lib/net/kernel/links.h"
#include "lib/net/kernel/netlink_socket.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace attest::net {

/// The giving of `text`, "192.168.1.254/24" or of IPv6, to the interface `name`, whose number is
/// `index`. Throws Error{host} if it is no address.
Request address_request(const std::string& name, int index, const std::string& text);
/// Whether the kernel refused an address, or a setting of IPv6, because there is no IPv6.
bool is_ipv6(const std::string& address);
bool means_no_ipv6(int code);

/// Writes a file of /proc/sys, which is that of the thread's namespace. False if there is IPv6 and
/// it could not be turned off, as in a container that has /proc/sys read-only.
bool turn_ipv6_off(const std::string& name);
/// A change, which may fail, that keeps IPv6 from taking an address by itself.
Request without_ipv6_address(const std::string& name);
/// Adds net.ipv4.conf.NAME.rp_filter=1 to a change of an interface.
void filter_by_route(Request& change);

/// Makes links, once. Borrows both for its life.
class LinkMaker {
 public:
  LinkMaker(NetlinkSocket& socket, const Links& links) : socket_(socket), links_(links) {}
  /// As Netlink::make().
  void run();

 private:
  struct Bridge {
    std::uint32_t index = 0, group = 0;
  };
  struct OurEnd {
    CableEnd cable;
    std::string attempt;
  };
  struct Step {
    Request request;
    std::string made;           ///< the interface, if it makes one
    bool ipv6_or_less = false;  ///< a kernel without IPv6 may refuse it
  };
  void collect_ends();
  void find_bridges();
  void number_bridges();
  std::vector<Step> creations() const;
  std::vector<Step> settings();
  void perform(std::vector<Step> steps);
  void undo() noexcept;

  NetlinkSocket& socket_;
  const Links& links_;
  std::vector<OurEnd> ends_;
  std::map<std::string, Bridge> bridges_;  ///< all that anything is plugged into
  std::vector<std::string> made_;
};

}  // namespace attest::net
