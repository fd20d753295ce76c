#include "guest/agent/piece.h"

#include <cstring>

namespace attest::agent {
namespace {

constexpr std::size_t page = 4096;
// A frame's head has its place before the page that the data begins on.
alignas(page) char memory[page + piece_size];

}  // namespace

char* piece_buffer() { return memory + page; }

const char* framed_in_place(std::string_view head, std::string_view bytes) {
  if (bytes.data() < piece_buffer() || bytes.data() >= piece_buffer() + piece_size) return nullptr;
  auto* start = memory + (bytes.data() - memory) - head.size();
  std::memcpy(start, head.data(), head.size());
  return start;
}

}  // namespace attest::agent
