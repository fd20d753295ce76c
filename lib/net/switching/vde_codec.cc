#include "lib/net/switching/vde_codec.h"

#include "attest/error.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace attest::net {
namespace {

constexpr std::uint32_t magic = 0xfeedface;
constexpr std::size_t word = sizeof(std::uint32_t);
constexpr std::size_t mac_bytes = 6;
constexpr std::size_t longest_description = 128;
constexpr std::uint32_t management_type = 1;

static_assert(sizeof(sockaddr_un) == 110);

std::uint32_t word_at(std::string_view bytes, std::size_t at) {
  std::uint32_t value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::string hex(std::uint32_t value) {
  std::string text = "0x";
  for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[value >> shift & 0xf];
  return text;
}

Error refused(const std::string& why) {
  return Error(Error::Kind::protocol, "a VDE client's request: " + why);
}

// Where things are in the two versions that there are.
struct Layout {
  std::size_t type, address;
  std::size_t description() const { return address + sizeof(sockaddr_un); }
};

Layout layout_of(std::string_view bytes) {
  auto second = word_at(bytes, word);
  if (second == 3) return {.type = 2 * word, .address = 3 * word};
  // Version 1 has none: its type is in that place.
  if (second <= management_type) return {.type = word, .address = 2 * word + mac_bytes};
  throw refused("version " + std::to_string(second) + ", only 1 and 3 are known");
}

std::string address_in(std::string_view field) {
  sockaddr_un address;
  std::memcpy(&address, field.data(), sizeof address);
  if (address.sun_family != AF_UNIX)
    throw refused("its socket is of family " + std::to_string(address.sun_family) +
                  ", not a unix socket");
  std::string_view path(address.sun_path, sizeof address.sun_path);
  if (path.front() == '\0') return std::string(path);
  path = path.substr(0, path.find('\0'));
  if (path.front() != '/') throw refused("the path of its socket is not absolute");
  if (path.size() > longest_socket_path) throw refused("the path of its socket does not end");
  return std::string(path);
}

}  // namespace

std::optional<VdeRequest> decode_vde_request(std::string_view bytes) {
  std::string_view wanted(reinterpret_cast<const char*>(&magic), word);
  if (!wanted.starts_with(bytes.substr(0, word)))
    throw refused("it starts with '" + std::string(bytes.substr(0, word)) + "', not with " +
                  hex(magic));
  if (bytes.size() < 2 * word) return std::nullopt;
  auto layout = layout_of(bytes);
  if (bytes.size() < layout.description()) return std::nullopt;

  auto type = word_at(bytes, layout.type);
  if ((type & 0xff) > management_type) throw refused("type " + hex(type) + " is unknown");
  VdeRequest request;
  request.management = (type & 0xff) == management_type;
  request.port = static_cast<int>(type >> 8);
  request.address = address_in(bytes.substr(layout.address, sizeof(sockaddr_un)));
  auto description = bytes.substr(layout.description(), longest_description);
  request.description = description.substr(0, description.find('\0'));
  return request;
}

std::string encode_vde_answer(std::string_view path) {
  if (path.empty() || path.size() > longest_socket_path)
    throw Error(Error::Kind::usage, "the path of a VDE port has " + std::to_string(path.size()) +
                                        " bytes, it must have 1 to " +
                                        std::to_string(longest_socket_path));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return {reinterpret_cast<const char*>(&address), sizeof address};
}

}  // namespace attest::net
