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

inline constexpr std::size_t ethernet_header = 14, ethernet_tag = 4;

/// True if `frame`, which has a header, has an 802.1Q tag, or one of 802.1ad, in it.
inline bool is_tagged(std::string_view frame) {
  auto type = frame.substr(12, 2);
  return frame.size() >= ethernet_header + ethernet_tag &&
         (type == std::string_view("\x81\0", 2) || type == "\x88\xa8");
}

/// Reads the header of `frame`; nullopt if it is too short to have one.
inline std::optional<Addresses> read_addresses(std::string_view frame) {
  constexpr std::uint64_t vlan_mask = 0xfff;
  if (frame.size() < ethernet_header) return std::nullopt;
  auto number = [&](std::size_t from, std::size_t count) {
    std::uint64_t value = 0;
    for (std::size_t i = from; i < from + count; ++i)
      value = value << 8 | static_cast<unsigned char>(frame[i]);
    return value;
  };
  Addresses result{.destination = number(0, 6), .source = number(6, 6)};
  if (is_tagged(frame)) {
    Station vlan = number(14, 2) & vlan_mask;
    result.destination |= vlan << 48;
    result.source |= vlan << 48;
  }
  return result;
}

}  // namespace attest::net
