// What a port could not send yet: bytes of whole frames, bounded.
#pragma once
#include <cstddef>
#include <deque>
#include <string>
#include <string_view>

namespace attest::net {

/// Bytes in order, in chunks that are freed as they are sent.
class OutQueue {
 public:
  static constexpr std::size_t limit = 4 << 20;

  bool empty() const noexcept { return size_ == 0; }
  std::size_t size() const noexcept { return size_; }

  /// Appends a frame; false, and nothing is appended, if it would exceed the limit.
  bool push(std::string_view framed);
  /// Appends the rest of a frame whose beginning is sent: it must follow, whatever the limit.
  void push_rest(std::string_view bytes);
  /// Some bytes from the front; empty only if the queue is.
  std::string_view front() const;
  /// Removes `count` bytes, at most front().size().
  void pop(std::size_t count);

 private:
  std::deque<std::string> chunks_;
  std::size_t sent_ = 0;  // of the first chunk
  std::size_t size_ = 0;
};

}  // namespace attest::net
