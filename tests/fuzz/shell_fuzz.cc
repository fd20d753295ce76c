// Any bytes at all, in pieces of any size: the decoder neither crashes nor grows, and what it
// makes of them does not depend on how they were cut.
#include "lib/proto/shell.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

using namespace attest::proto;

namespace {

std::vector<ShellEvent> decode(std::string_view bytes, std::size_t piece) {
  ShellDecoder decoder("0123456789abcdef");
  std::vector<ShellEvent> events;
  while (!bytes.empty()) {
    decoder.feed(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    while (auto event = decoder.next()) events.push_back(std::move(*event));
  }
  return events;
}

// What a run comes to; the wording of damage may tell how much had arrived.
bool same(const ShellEvent& a, const ShellEvent& b) {
  auto *x = std::get_if<ShellDamage>(&a), *y = std::get_if<ShellDamage>(&b);
  return x && y ? x->id == y->id : a == b;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::size_t piece = 1 + data[0] % 61;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto whole = decode(bytes, bytes.size()), cut = decode(bytes, piece);
  if (whole.size() != cut.size()) std::abort();
  for (std::size_t i = 0; i < whole.size(); ++i)
    if (!same(whole[i], cut[i])) std::abort();
  return 0;
}
