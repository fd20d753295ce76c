// Blocks of a pcapng capture file, as bytes: pure functions that append to a string. Facts from
// draft-ietf-opsawg-pcapng: 3.1 blocks, 3.5 options, 4.1 section header, 4.2 interface description,
// 4.3 enhanced packet, 4.3.1 its flags. All is little-endian, which the section header tells.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace attest::net::pcapng {

/// What is kept of a frame, at most; longer ones keep their original length beside it.
inline constexpr std::uint32_t longest_frame = 262'144;

/// The beginning of every file (4.1). `application` is who has written it.
void append_section(std::string& out, std::string_view application);

/// One interface (4.2): Ethernet, times in nanoseconds. The first appended one has the number 0;
/// one may come at any place before the first packet that uses it.
void append_interface(std::string& out, std::string_view name, std::string_view description);

/// A frame that came in at an interface.
struct Packet {
  std::uint32_t interface = 0;
  std::chrono::system_clock::time_point at;
  std::string_view frame;    ///< from its destination address on, without a check sequence
  std::string_view comment;  ///< "": none
};
/// One packet (4.3), with its direction: inbound.
void append_packet(std::string& out, const Packet& packet);

/// How much of `bytes`, which begin with a block, are whole blocks, and the packets in them.
struct Whole {
  std::size_t bytes = 0;
  std::uint64_t packets = 0;
};
Whole whole_blocks(std::string_view bytes);

}  // namespace attest::net::pcapng
