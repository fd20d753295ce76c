#include "backends/ssh/fingerprint.h"

#include <bit>
#include <cmath>

namespace attest::ssh {
namespace {

constexpr std::string_view alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// FIPS 180-4: the first 32 bits of the fractional parts of roots of the first primes.
struct Constants {
  std::array<std::uint32_t, 64> rounds{};
  std::array<std::uint32_t, 8> start{};
  Constants() {
    std::size_t found = 0;
    for (unsigned n = 2; found < 64; ++n) {
      bool prime = true;
      for (unsigned d = 2; d * d <= n; ++d) prime = prime && n % d != 0;
      if (!prime) continue;
      rounds[found] = fraction(std::cbrt(static_cast<long double>(n)));
      if (found < 8) start[found] = fraction(std::sqrt(static_cast<long double>(n)));
      ++found;
    }
  }
  static std::uint32_t fraction(long double root) {
    return static_cast<std::uint32_t>((root - std::floor(root)) * 4294967296.0L);
  }
};

void digest(std::array<std::uint32_t, 8>& state, std::string_view block, const Constants& table) {
  std::array<std::uint32_t, 64> w{};
  for (std::size_t i = 0; i < 16; ++i) {
    auto bytes = block.substr(4 * i, 4);
    w[i] = *take_number(bytes);
  }
  for (std::size_t i = 16; i < 64; ++i) {
    auto a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + w[i - 7] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ (a >> 3)) +
           (std::rotr(b, 17) ^ std::rotr(b, 19) ^ (b >> 10));
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (std::size_t i = 0; i < 64; ++i) {
    auto one = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g)) +
               table.rounds[i] + w[i];
    auto two =
        (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + one, d = c, c = b, b = a, a = one + two;
  }
  const std::array<std::uint32_t, 8> more{a, b, c, d, e, f, g, h};
  for (std::size_t i = 0; i < 8; ++i) state[i] += more[i];
}

}  // namespace

std::array<std::uint8_t, 32> sha256(std::string_view bytes) {
  static const Constants table;
  auto state = table.start;
  std::string padded(bytes);
  padded += '\x80';
  padded.append((120 - padded.size() % 64) % 64, '\0');
  const auto bits = static_cast<std::uint64_t>(bytes.size()) * 8;
  put_number(padded, static_cast<std::uint32_t>(bits >> 32));
  put_number(padded, static_cast<std::uint32_t>(bits));
  for (std::size_t at = 0; at < padded.size(); at += 64)
    digest(state, std::string_view(padded).substr(at, 64), table);
  std::array<std::uint8_t, 32> result{};
  for (std::size_t i = 0; i < 32; ++i)
    result[i] = static_cast<std::uint8_t>(state[i / 4] >> (24 - 8 * (i % 4)));
  return result;
}

std::string base64(std::string_view bytes) {
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    auto part = bytes.substr(at, 3);
    unsigned group = 0;
    for (std::size_t i = 0; i < 3; ++i)
      group = group << 8 | (i < part.size() ? static_cast<std::uint8_t>(part[i]) : 0U);
    for (std::size_t i = 0; i < 4; ++i)
      text += i <= part.size() ? alphabet[group >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  std::string bytes;
  unsigned group = 0, count = 0;
  for (char c : text) {
    if (c == '\n' || c == '\r' || c == '=') continue;
    auto value = alphabet.find(c);
    if (value == alphabet.npos) return std::nullopt;
    group = group << 6 | static_cast<unsigned>(value);
    if (++count % 4 == 0) {
      for (int shift = 16; shift >= 0; shift -= 8) bytes += static_cast<char>(group >> shift);
      group = 0;
    }
  }
  if (count % 4 == 1) return std::nullopt;
  if (count % 4 == 2) bytes += static_cast<char>(group >> 4);
  if (count % 4 == 3) (bytes += static_cast<char>(group >> 10)) += static_cast<char>(group >> 2);
  return bytes;
}

std::string fingerprint(std::string_view key) {
  auto hash = sha256(key);
  auto text = base64({reinterpret_cast<const char*>(hash.data()), hash.size()});
  while (text.ends_with('=')) text.pop_back();
  return "SHA256:" + text;
}

std::string key_type(std::string_view key) { return std::string(take_string(key).value_or("")); }

std::optional<std::uint32_t> take_number(std::string_view& bytes) {
  if (bytes.size() < 4) return std::nullopt;
  std::uint32_t number = 0;
  for (char c : bytes.substr(0, 4)) number = number << 8 | static_cast<std::uint8_t>(c);
  bytes.remove_prefix(4);
  return number;
}

std::optional<std::string_view> take_string(std::string_view& bytes) {
  auto rest = bytes;
  auto size = take_number(rest);
  if (!size || *size > rest.size()) return std::nullopt;
  auto text = rest.substr(0, *size);
  rest.remove_prefix(*size);
  bytes = rest;
  return text;
}

void put_number(std::string& bytes, std::uint32_t number) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(number >> shift);
}

void put_string(std::string& bytes, std::string_view text) {
  put_number(bytes, static_cast<std::uint32_t>(text.size()));
  bytes += text;
}

}  // namespace attest::ssh
