// libFuzzer target: what could come in place of systemd's D-Bus messages. They are the same however
// the bytes are split.
#include "guest/agent/dbus.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {
using namespace attest::agent::dbus;

void add(std::string& text, const Value& value) {
  text += value.type;
  text += value.text;
  for (auto& item : value.items) add(text, item);
}

std::string transcript(std::string_view bytes, std::size_t piece) {
  Decoder decoder;
  decoder.feed("OK\r\n");
  std::string text;
  while (!bytes.empty()) {
    decoder.feed(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    while (auto message = decoder.next()) {
      text += message->path + message->interface + message->member + message->error_name;
      for (auto& value : message->body) add(text, value);
    }
  }
  return text + decoder.broken();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  if (transcript(bytes, 1 << 20) != transcript(bytes, data[0] % 16 + 1)) std::abort();
  // Values by themselves: the first part is their signature.
  auto cut = std::min<std::size_t>(data[1], bytes.size());
  if (auto values = decode(bytes.substr(0, cut), bytes.substr(cut), data[0] & 1)) {
    std::string text;
    for (auto& value : *values) add(text, value);
  }
  return 0;
}
