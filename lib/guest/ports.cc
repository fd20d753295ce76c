#include "lib/guest/ports.h"

#include "lib/guest/words.h"

#include <cstdio>
#include <utility>
#include <vector>

namespace attest::guest {
namespace {

// The second column of these files is "address:port" in hex.
std::string udp_probe(const PortOpen& port) {
  char hex[8];
  std::snprintf(hex, sizeof hex, "%04X", static_cast<unsigned>(port.port));
  return std::string("f=\n") +
         "[ -r /proc/net/udp ]||{ echo 'the guest has no /proc/net/udp';exit 3;}\n"
         "for n in udp udp6;do [ -r /proc/net/$n ]||continue\n"
         "while read -r s l r;do case $l in *:" +
         hex + ")f=1;;esac;done </proc/net/$n;done\n" +
         (port.closed ? "[ \"$f\" ]||exit 0\necho 'a socket is bound to it'\nexit 1\n"
                      : "[ ! \"$f\" ]||exit 0\necho 'no socket is bound to it'\nexit 1\n");
}

Task<void> wait_for(Guest& guest, int port, PortOptions options, bool closed, Deadline deadline) {
  Condition condition = PortOpen{port, std::move(options.address), options.udp, closed};
  co_await guest.wait_for(condition, deadline);
}

}  // namespace

std::string port_probe(const PortOpen& port) {
  check(port);
  if (port.udp) return udp_probe(port);
  // A minimal guest may not have localhost in /etc/hosts.
  std::vector<std::string> addresses{port.address};
  if (port.address == "localhost") addresses = {"127.0.0.1", "::1"};
  const auto number = std::to_string(port.port);
  const std::string found =
      port.closed ? "{ echo 'something accepts connections';exit 1;}" : "exit 0";
  const std::string none = port.closed ? "exit 0\n" : "exit 1\n";
  std::string bash, nc;
  for (auto& one : addresses) {
    bash += "{ : 3<>/dev/tcp/" + one + "/" + number + ";}&&" + found + "\n";
    nc += "nc $z " + one + " " + number + " $e&&" + found + "\n";
  }
  return "if [ \"${BASH_VERSION-}\" ];then\n" + bash + none +
         "fi\n"
         "command -v nc >/dev/null||{ echo 'the guest has neither bash nor nc';exit 3;}\n"
         // Small builds of busybox know no -z.
         "z=-z e=;nc -h 2>&1|grep -q -e -z||{ z= e='-e true';}\n" +
         nc + (port.closed ? "" : "echo 'nobody accepts on it'\n") + none;
}

Task<void> wait_for_open_port(Guest& guest, int port, PortOptions options, Deadline deadline) {
  return wait_for(guest, port, std::move(options), false, deadline);
}

Task<void> wait_for_closed_port(Guest& guest, int port, PortOptions options, Deadline deadline) {
  return wait_for(guest, port, std::move(options), true, deadline);
}

}  // namespace attest::guest
