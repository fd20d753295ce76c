#include "lib/net/switching/packet_socket.h"

#include "lib/base/sys_error.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

namespace attest::net {
namespace {

// Bursts wait here while the loop is busy elsewhere.
constexpr int receive_buffer = 4 << 20;

template <class Value>
void set(const base::Fd& socket, int option, const Value& value, const std::string& attempt) {
  base::check(::setsockopt(socket.get(), SOL_PACKET, option, &value, sizeof value), attempt);
}

void grow_receive_buffer(const base::Fd& socket) {
  // The first is not bound by net.core.rmem_max, but wants CAP_NET_ADMIN. Smaller is no failure.
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer,
                   sizeof receive_buffer) < 0)
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
}

base::Fd make_socket(const std::string& attempt) {
  // Protocol 0: deaf until it is bound. With another it would hear all interfaces until then.
  base::Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket) return socket;
  int code = errno;
  auto error = base::sys_error(attempt + ": making a packet socket", code);
  if (code == EPERM || code == EACCES)
    error.hint("it needs CAP_NET_RAW: run as root, or with --attest_sandbox=auto");
  throw error;
}

}  // namespace

base::Fd open_packet_socket(const std::string& interface) {
  const std::string attempt = "opening the interface '" + interface + "'";
  auto socket = make_socket(attempt);
  auto index = ::if_nametoindex(interface.c_str());
  if (index == 0) throw base::sys_error(attempt);

  set(socket, PACKET_IGNORE_OUTGOING, 1, attempt + ": leaving out what it sends");
  set(socket, PACKET_AUXDATA, 1, attempt + ": asking for VLAN tags");
  packet_mreq promiscuous{};
  promiscuous.mr_ifindex = static_cast<int>(index);
  promiscuous.mr_type = PACKET_MR_PROMISC;
  set(socket, PACKET_ADD_MEMBERSHIP, promiscuous, attempt + ": asking for all stations' frames");
  grow_receive_buffer(socket);

  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(index);
  base::check(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
              attempt + ": binding a packet socket");
  return socket;
}

LinkState link_state(int packet_socket) noexcept {
  sockaddr_ll bound{};
  socklen_t size = sizeof bound;
  if (::getsockname(packet_socket, reinterpret_cast<sockaddr*>(&bound), &size) < 0)
    return LinkState::gone;
  ifreq request{};
  request.ifr_ifindex = bound.sll_ifindex;  // -1 once the interface is removed
  if (bound.sll_ifindex <= 0 || ::ioctl(packet_socket, SIOCGIFNAME, &request) < 0)
    return LinkState::gone;
  if (::ioctl(packet_socket, SIOCGIFFLAGS, &request) < 0) return LinkState::gone;
  return (request.ifr_flags & IFF_UP) != 0 ? LinkState::up : LinkState::down;
}

}  // namespace attest::net
