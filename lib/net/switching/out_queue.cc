#include "lib/net/switching/out_queue.h"

namespace attest::net {
namespace {
constexpr std::size_t chunk_size = 128 << 10;
}

bool OutQueue::push(std::string_view framed) {
  if (size_ + framed.size() > limit) return false;
  push_rest(framed);
  return true;
}

void OutQueue::push_rest(std::string_view bytes) {
  if (chunks_.empty() || chunks_.back().size() + bytes.size() > chunk_size)
    chunks_.emplace_back().reserve(chunk_size);
  chunks_.back().append(bytes);
  size_ += bytes.size();
}

std::string_view OutQueue::front() const {
  if (chunks_.empty()) return {};
  return std::string_view(chunks_.front()).substr(sent_);
}

void OutQueue::pop(std::size_t count) {
  sent_ += count;
  size_ -= count;
  if (chunks_.empty() || sent_ < chunks_.front().size()) return;
  chunks_.pop_front();
  sent_ = 0;
}

}  // namespace attest::net
