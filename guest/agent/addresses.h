// Addresses of hosts, without the C library's resolver, which cannot be linked statically.
#pragma once
#include "guest/agent/fd.h"
#include "guest/agent/loop.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace attest::agent {

/// An IPv4 or IPv6 address.
struct Address {
  int family = AF_INET;
  unsigned char bytes[16] = {};  ///< in network order; 4 or 16 of them

  std::size_t size() const { return family == AF_INET ? 4 : 16; }
  bool is_any() const;
  bool operator==(const Address& other) const;
  std::string text() const;
  /// Fills in a socket address; its size.
  socklen_t with_port(std::uint16_t port, sockaddr_storage& to) const;
};

/// "10.0.0.1", "::1", "[::1]"; nullopt for anything else.
std::optional<Address> parse_address(std::string_view text);
/// What a file like /etc/hosts says about `name`; "localhost" is always 127.0.0.1 and ::1.
std::vector<Address> addresses_in_hosts(std::string_view content, std::string_view name);
/// The addresses in what `getent ahosts` prints, each once.
std::vector<Address> addresses_of_getent(std::string_view output);
/// True if a table like /proc/net/udp (or udp6) has an unconnected socket on `port` that what is
/// sent to `address` reaches.
bool has_udp_port(std::string_view table, const Address& address, std::uint16_t port);

/// Asks the guest's own resolver, by a child process. Destroying it ends that.
class Lookup {
 public:
  /// Calls back with the addresses, none if the name is unknown; `why` says what else failed.
  using Found = std::function<void(std::vector<Address> addresses, std::string why)>;
  Lookup(Loop& loop, const std::string& name, Found found);
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;
  ~Lookup();

 private:
  void on_output();

  Loop& loop_;
  Found found_;
  Fd output_;
  std::string text_;
  pid_t child_ = 0;
  Loop::Timer failed_ = 0;
};

}  // namespace attest::agent
