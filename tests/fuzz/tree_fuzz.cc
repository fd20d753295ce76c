// libFuzzer target: what a hostile guest could send as a tree. The events are the same however the
// bytes are split; no path leaves the root, no piece leaves its file, and what was announced in
// order can be written again.
#include "lib/proto/agent_tree.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {
using namespace attest::proto;

void require(bool holds) {
  if (!holds) std::abort();
}

// All events as text, pieces of data joined, so that cuts do not show.
std::string transcript(std::string_view bytes, std::size_t piece) {
  TreeDecoder decoder;
  std::string text;
  std::uint64_t size = 0, at = 0;
  bool first = true;
  while (!bytes.empty()) {
    decoder.feed(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    while (auto event = decoder.next()) {
      if (auto* entry = std::get_if<TreeEntry>(&*event)) {
        require(first ? entry->path.empty() : tree_path_ok(entry->path));
        first = false;
        size = entry->size;
        at = 0;
        text += tree_entry(*entry);
      } else if (auto* part = std::get_if<TreeData>(&*event)) {
        require(part->offset >= at && part->bytes.size() <= size - part->offset);
        if (part->offset != at) text += "@" + std::to_string(part->offset);
        at = part->offset + part->bytes.size();
        text += part->bytes;
      } else {
        text += std::holds_alternative<TreeEnd>(*event) ? "Z" : "E";
      }
    }
  }
  return text + "|" + decoder.broken();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  require(transcript(bytes, 1 << 20) == transcript(bytes, data[0] % 16 + 1));
  return 0;
}
