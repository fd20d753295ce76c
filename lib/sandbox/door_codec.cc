#include "lib/sandbox/door_codec.h"

namespace attest::sandbox {
namespace {

// request: 'Q' call(1) port(2) timeout(4) length(2) text      all numbers big-endian,
// reply:   'A' port(2) length(2) text                         nothing may follow the text

void put(std::string& bytes, std::uint32_t value, int size) {
  while (size-- > 0) bytes.push_back(static_cast<char>((value >> (8 * size)) & 0xff));
}

std::uint32_t take(std::string_view& bytes, std::size_t size) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  bytes.remove_prefix(size);
  return value;
}

void put_text(std::string& bytes, std::string_view text) {
  text = text.substr(0, max_text);
  put(bytes, static_cast<std::uint32_t>(text.size()), 2);
  bytes += text;
}

// True if `bytes` is exactly one counted text without NUL, which getaddrinfo would cut there.
bool take_text(std::string_view bytes, std::string& text) {
  std::size_t length = take(bytes, 2);
  if (length != bytes.size() || length > max_text || bytes.find('\0') != bytes.npos) return false;
  text = bytes;
  return true;
}

}  // namespace

std::string encode(const DoorRequest& request) {
  std::string bytes = "Q";
  put(bytes, static_cast<std::uint32_t>(request.call), 1);
  put(bytes, request.port, 2);
  put(bytes, request.timeout_ms, 4);
  put_text(bytes, request.text);
  return bytes;
}

std::string encode(const DoorReply& reply) {
  std::string bytes = "A";
  put(bytes, reply.port, 2);
  put_text(bytes, reply.error);
  return bytes;
}

std::optional<DoorRequest> decode_request(std::string_view bytes) {
  if (bytes.size() < 10 || bytes[0] != 'Q') return std::nullopt;
  bytes.remove_prefix(1);
  DoorRequest request;
  auto call = take(bytes, 1);
  if (call < 1 || call > static_cast<unsigned>(DoorCall::sweep_cgroup)) return std::nullopt;
  request.call = static_cast<DoorCall>(call);
  request.port = static_cast<std::uint16_t>(take(bytes, 2));
  request.timeout_ms = take(bytes, 4);
  if (!take_text(bytes, request.text)) return std::nullopt;
  return request;
}

std::optional<DoorReply> decode_reply(std::string_view bytes) {
  if (bytes.size() < 5 || bytes[0] != 'A') return std::nullopt;
  bytes.remove_prefix(1);
  DoorReply reply;
  reply.port = static_cast<std::uint16_t>(take(bytes, 2));
  if (!take_text(bytes, reply.error)) return std::nullopt;
  return reply;
}

}  // namespace attest::sandbox
