#include "lib/guest/ports.h"

#include "attest/error.h"
#include "lib/base/text.h"
#include "lib/guest/poll.h"

#include <algorithm>
#include <vector>

namespace attest::guest {

std::string port_probe(int port, const std::string& address) {
  if (port < 1 || port > 65535)
    throw Error(Error::Kind::usage, "port " + std::to_string(port) + " is not between 1 and 65535");
  bool sane = !address.empty() && address[0] != '-' &&
              std::all_of(address.begin(), address.end(), [](char c) {
                return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view(".:-_%").find(c) != std::string_view::npos;
              });
  if (!sane)
    throw Error(Error::Kind::usage,
                "'" + base::printable(address) + "' is neither a host name nor an address");
  // A minimal guest may not have localhost in /etc/hosts.
  std::vector<std::string> addresses{address};
  if (address == "localhost") addresses = {"127.0.0.1", "::1"};
  const auto number = std::to_string(port);
  std::string bash, nc;
  for (auto& one : addresses) {
    bash += "{ : 3<>/dev/tcp/" + one + "/" + number + ";}&&exit 0\n";
    nc += "nc -z " + one + " " + number + "&&exit 0\n";
  }
  return "if [ \"${BASH_VERSION-}\" ];then\n" + bash +
         "exit 1\nfi\n"
         "command -v nc >/dev/null||{ echo 'the guest has neither bash nor nc';exit 3;}\n" +
         nc + "exit 1\n";
}

Task<void> wait_for_open_port(Guest& guest, int port, PortOptions options, Deadline deadline) {
  std::string goal = "port " + std::to_string(port) + " of " + options.address + " to be open";
  std::string probe = port_probe(port, options.address);
  co_await wait_for(guest, goal, probe, deadline);
}

}  // namespace attest::guest
