#include "lib/proto/shell.h"

#include <array>

namespace attest::proto {
namespace {

constexpr std::string_view alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::uint32_t, 256> checksum_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i << 24;
    for (int bit = 0; bit < 8; ++bit) value = value << 1 ^ (value >> 31 ? 0x04c11db7u : 0u);
    table[i] = value;
  }
  return table;
}();

}  // namespace

std::string shell_base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = i; j < i + 3; ++j)
      group = group << 8 | (j < bytes.size() ? static_cast<unsigned char>(bytes[j]) : 0u);
    for (int shift = 18; shift >= 0; shift -= 6) text += alphabet[group >> shift & 63];
  }
  for (std::size_t pad = (3 - bytes.size() % 3) % 3; pad > 0; --pad) text[text.size() - pad] = '=';
  return text;
}

std::uint32_t shell_checksum(std::string_view bytes) {
  std::uint32_t sum = 0;
  auto add = [&](unsigned char byte) {
    sum = sum << 8 ^ checksum_table[(sum >> 24 ^ byte) & 0xff];
  };
  for (char c : bytes) add(static_cast<unsigned char>(c));
  // The length follows, the lowest byte first, without leading zeros.
  for (auto length = bytes.size(); length != 0; length >>= 8)
    add(static_cast<unsigned char>(length & 0xff));
  return ~sum;
}

std::string shell_input(std::uint64_t id, std::string_view file, std::string_view bytes) {
  auto text = shell_base64(bytes);
  return "head -c " + std::to_string(text.size()) + "|base64 -d >>" + std::string(file) +
         " 2>/dev/null;_at_say " + std::to_string(id) + " r $?\n" + text;
}

}  // namespace attest::proto
