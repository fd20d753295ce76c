#include "lib/net/uplink.h"

#include "lib/base/text.h"
#include "lib/net/switching/frames.h"

#include <cstddef>
#include <cstdint>

namespace attest::net {
namespace {

constexpr std::size_t ethernet_header = 14;
constexpr std::size_t arp_end = ethernet_header + 28;
// Ethernet's type, then hardware and protocol: Ethernet and IPv4, with their lengths.
constexpr std::string_view arp_types("\x08\x06\x00\x01\x08\x00\x06\x04", 8);

std::string bytes_of(std::string_view text, char separator, int base) {
  std::string bytes;
  for (auto& part : base::split(text, separator))
    bytes += static_cast<char>(std::stoi(part, nullptr, base));
  return bytes;
}
std::string mac_bytes(std::string_view mac) { return bytes_of(mac, ':', 16); }
std::string ip_bytes(std::string_view ip) { return bytes_of(ip, '.', 10); }

std::string network_file(const Nic& nic) {
  return "[Match]\n"
         "MACAddress=" +
         nic.mac +
         "\n"
         "Kind=!vlan bridge bond team macvlan ipvlan\n"
         "\n"
         "[Network]\n"
         "Address=" +
         nic.ipv4 +
         "/24\n"
         "Gateway=" +
         std::string(uplink_gateway) +
         "\n"
         "DNS=" +
         std::string(uplink_dns) +
         "\n"
         "DHCP=no\n"
         "IPv6AcceptRA=no\n"
         "LinkLocalAddressing=no\n"
         "LLMNR=no\n"
         "ConfigureWithoutCarrier=yes\n";
}

}  // namespace

Nic make_uplink(int number) {
  auto nic = make_nic(0, number);
  nic.ipv4 = uplink_address;
  nic.ipv6.clear();
  return nic;
}

std::string uplink_command() {
  // -i: a template for what is not given here. The host's own is an interface with a default
  // route, without which passt (2023-03-09) ends; sockets are not bound to it.
  // -m: for machines that ask by DHCP; else they would be told 65520.
  std::vector<std::string> words{"passt", "--fd", "0",  "--foreground", "--quiet", "-4",
                                 "-i",    "lo",   "-m", "1500",         "-t",      "none",
                                 "-u",    "none", "-n", "24",           "-a"};
  words.emplace_back(uplink_address);
  words.emplace_back("-g");
  words.emplace_back(uplink_gateway);
  words.emplace_back("-M");
  words.emplace_back(uplink_gateway_mac);
  words.emplace_back("--dns-forward");
  words.emplace_back(uplink_dns);
  return "said=$(" + base::shell_join(words) + R"( 2>&1 >/dev/null); printf '%s\n' "$said")";
}

std::string gateway_question(const Nic& nic) {
  auto mac = mac_bytes(nic.mac);
  return encode_frame(std::string(6, '\xff') + mac + std::string(arp_types) +
                      std::string("\0\1", 2) + mac + ip_bytes(nic.ipv4) + std::string(6, '\0') +
                      ip_bytes(uplink_gateway));
}

bool is_gateway_answer(std::string_view frame) {
  constexpr std::string_view reply("\0\2", 2);
  return frame.size() >= arp_end && frame.substr(12, 8) == arp_types &&
         frame.substr(20, 2) == reply && frame.substr(28, 4) == ip_bytes(uplink_gateway);
}

bool is_text(std::string_view received) {
  // The first byte of a length: no frame has 16 MiB.
  return !received.empty() && received.front() != '\0';
}

std::string passt_words(std::string_view said) {
  std::vector<std::string> kept;
  for (auto& line : base::split(said, '\n')) {
    auto text = base::trim(line);
    if (text.empty() || text.starts_with("Failed to send") || text.starts_with("Don't run as root"))
      continue;
    kept.push_back(base::printable(text));
  }
  return base::join(kept, "; ");
}

std::vector<SeedFile> uplink_seed(const Nic& nic) {
  return {{.path = "/etc/systemd/network/10-attest-uplink.network", .content = network_file(nic)},
          {.path = "/etc/resolv.conf", .content = "nameserver " + std::string(uplink_dns) + "\n"}};
}

}  // namespace attest::net
