#include "lib/net/pcapng.h"

#include <algorithm>

namespace attest::net::pcapng {
namespace {

constexpr std::uint32_t section_block = 0x0a0d0d0a, interface_block = 1, packet_block = 6;
// Options, 3.5 and the tables of the blocks' sections.
constexpr std::uint16_t end_of_options = 0, comment_option = 1, section_application = 4,
                        interface_name = 2, interface_description = 3, interface_resolution = 9,
                        packet_flags = 2;
constexpr std::uint16_t ethernet = 1;  // the link type
constexpr std::uint32_t inbound = 1;   // 4.3.1, bits 0 and 1
constexpr std::size_t longest_option = 0xfffc;

template <class Int>
void append(std::string& out, Int number) {
  for (std::size_t byte = 0; byte < sizeof number; ++byte)
    out += static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * byte) & 0xff);
}

std::uint32_t number_at(std::string_view bytes, std::size_t place) {
  std::uint32_t number = 0;
  for (std::size_t byte = 4; byte-- > 0;)
    number = number << 8 | static_cast<unsigned char>(bytes[place + byte]);
  return number;
}

// To the next multiple of four, from the beginning of what is padded.
void pad(std::string& out, std::size_t size) { out.append((4 - size % 4) % 4, '\0'); }

void append_option(std::string& out, std::uint16_t code, std::string_view value) {
  value = value.substr(0, longest_option);
  append(out, code);
  append(out, static_cast<std::uint16_t>(value.size()));
  out += value;
  pad(out, value.size());
}

void append_text(std::string& out, std::uint16_t code, std::string_view text) {
  if (!text.empty()) append_option(out, code, text);
}

// One block: its type, its length, and at the end of its scope the length again.
class Block {
 public:
  Block(std::string& out, std::uint32_t type) : out_(out), begin_(out.size()) {
    append(out, type);
    append(out, std::uint32_t{0});
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() {
    append_option(out_, end_of_options, "");
    auto length = static_cast<std::uint32_t>(out_.size() - begin_ + 4);
    append(out_, length);
    std::copy(out_.end() - 4, out_.end(), out_.begin() + static_cast<std::ptrdiff_t>(begin_) + 4);
  }

 private:
  std::string& out_;
  std::size_t begin_;
};

}  // namespace

void append_section(std::string& out, std::string_view application) {
  Block block(out, section_block);
  append(out, std::uint32_t{0x1a2b3c4d});  // the byte order
  append(out, std::uint16_t{1});           // the format's version
  append(out, std::uint16_t{0});
  append(out, ~std::uint64_t{0});  // the section's length: not known yet
  append_text(out, section_application, application);
}

void append_interface(std::string& out, std::string_view name, std::string_view description) {
  Block block(out, interface_block);
  append(out, ethernet);
  append(out, std::uint16_t{0});
  append(out, longest_frame);
  append_text(out, interface_name, name);
  append_text(out, interface_description, description);
  append_option(out, interface_resolution, "\x09");  // 10^-9 s
}

void append_packet(std::string& out, const Packet& packet) {
  using std::chrono::nanoseconds;
  auto since_1970 = packet.at.time_since_epoch();
  auto time =
      static_cast<std::uint64_t>(std::chrono::duration_cast<nanoseconds>(since_1970).count());
  auto kept = packet.frame.substr(0, longest_frame);

  Block block(out, packet_block);
  append(out, packet.interface);
  append(out, static_cast<std::uint32_t>(time >> 32));
  append(out, static_cast<std::uint32_t>(time));
  append(out, static_cast<std::uint32_t>(kept.size()));
  append(out, static_cast<std::uint32_t>(packet.frame.size()));
  out += kept;
  pad(out, kept.size());
  append_text(out, comment_option, packet.comment);
  append(out, packet_flags);
  append(out, std::uint16_t{4});
  append(out, inbound);
}

Whole whole_blocks(std::string_view bytes) {
  Whole whole;
  while (bytes.size() - whole.bytes >= 12) {
    auto length = number_at(bytes, whole.bytes + 4);
    if (length < 12 || length > bytes.size() - whole.bytes) break;
    if (number_at(bytes, whole.bytes) == packet_block) ++whole.packets;
    whole.bytes += length;
  }
  return whole;
}

}  // namespace attest::net::pcapng
