// libFuzzer target: the frame splitter of the in-process switch. However the bytes of a peer are
// split, the frames are the same, lie within the input's size, and a broken length stays broken.
// Corpus: tests/fuzz/corpus/frames. The first byte of an input chooses the pieces.
#include "lib/net/switching/ethernet.h"
#include "lib/net/switching/frames.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace {
using namespace attest::net;

struct Outcome {
  std::vector<std::string> frames;
  bool broken = false;
  bool operator==(const Outcome&) const = default;
};

Outcome split(std::string_view bytes, std::size_t piece) {
  FrameSplitter splitter;
  Outcome outcome;
  while (!bytes.empty()) {
    splitter.feed(bytes.substr(0, piece));
    while (auto framed = splitter.next()) {
      if (framed->size() != length_bytes + read_length(*framed)) std::abort();
      outcome.frames.emplace_back(framed->substr(length_bytes));
      read_addresses(outcome.frames.back());
    }
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  outcome.broken = splitter.broken();
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto whole = split(bytes, std::max<std::size_t>(bytes.size(), 1));
  if (split(bytes, data[0] + std::size_t{1}) != whole) std::abort();
  std::string again;
  for (auto& frame : whole.frames) again += encode_frame(frame);
  if (!bytes.starts_with(again)) std::abort();
  return 0;
}
