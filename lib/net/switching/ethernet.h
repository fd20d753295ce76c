// The part of an Ethernet header that a switch looks at.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace attest::net {

/// A network station as a switch tells them apart: the MAC in the low 48 bits, its 802.1Q VLAN
/// (0 if untagged) above. The same MAC on two tagged VLANs is two stations.
using Station = std::uint64_t;

struct Addresses {
  Station destination = 0, source = 0;
  bool operator==(const Addresses&) const = default;
};

/// True for broadcast and multicast MACs.
inline bool is_group(Station station) { return station >> 40 & 1; }

/// Reads the header of `frame`; nullopt if it is too short to have one.
inline std::optional<Addresses> read_addresses(std::string_view frame) {
  constexpr std::size_t header = 14;
  constexpr std::uint64_t tag_802_1q = 0x8100, tag_802_1ad = 0x88a8, vlan_mask = 0xfff;
  if (frame.size() < header) return std::nullopt;
  auto number = [&](std::size_t from, std::size_t count) {
    std::uint64_t value = 0;
    for (std::size_t i = from; i < from + count; ++i)
      value = value << 8 | static_cast<unsigned char>(frame[i]);
    return value;
  };
  Addresses result{.destination = number(0, 6), .source = number(6, 6)};
  auto type = number(12, 2);
  if ((type == tag_802_1q || type == tag_802_1ad) && frame.size() >= header + 4) {
    Station vlan = number(14, 2) & vlan_mask;
    result.destination |= vlan << 48;
    result.source |= vlan << 48;
  }
  return result;
}

}  // namespace attest::net
