#include "lib/net/switching/frames.h"

#include <algorithm>

namespace attest::net {

std::string encode_frame(std::string_view frame) {
  auto length = static_cast<std::uint32_t>(frame.size());
  std::string framed;
  framed.reserve(length_bytes + frame.size());
  for (int shift : {24, 16, 8, 0}) framed += static_cast<char>(length >> shift & 0xff);
  return framed.append(frame);
}

void FrameSplitter::feed(std::string_view bytes) {
  input_ = bytes;
  joined_.clear();
}

// Moves input to the partial frame until that has `target` bytes; false if the input ends before.
bool FrameSplitter::grow_partial(std::size_t target) {
  if (partial_.size() < target) {
    auto count = std::min(target - partial_.size(), input_.size());
    partial_.append(input_.substr(0, count));
    input_.remove_prefix(count);
  }
  return partial_.size() >= target;
}

std::optional<std::string_view> FrameSplitter::next() {
  if (broken_) return std::nullopt;
  bool spanning = !partial_.empty();
  if (spanning && !grow_partial(length_bytes)) return std::nullopt;
  if (!spanning && input_.size() < length_bytes) {
    grow_partial(length_bytes);
    return std::nullopt;
  }
  std::size_t length = read_length(spanning ? std::string_view(partial_) : input_);
  if (length == 0 || length > max_frame) {
    broken_ = true;
    return std::nullopt;
  }
  std::size_t whole = length_bytes + length;
  if (spanning || input_.size() < whole) {
    if (!grow_partial(whole)) return std::nullopt;
    joined_.swap(partial_);
    partial_.clear();
    return joined_;
  }
  auto framed = input_.substr(0, whole);
  input_.remove_prefix(whole);
  return framed;
}

}  // namespace attest::net
