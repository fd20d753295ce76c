// Lines out of a byte stream.
#pragma once
#include "lib/async/net.h"

#include <optional>
#include <string>

namespace attest::async {

/// Reads lines from a Stream it does not own. A "\r" before the line end is removed.
class Lines {
 public:
  /// A line longer than `limit` bytes is Error{protocol}, so that a broken peer cannot fill memory.
  explicit Lines(Stream& stream, std::size_t limit = 16 << 20) : stream_(stream), limit_(limit) {}

  /// The next line without its end; nullopt at the end of the stream (an unfinished last line
  /// is returned first).
  Task<std::optional<std::string>> next();
  /// Bytes that were read and not yet returned, which are then the caller's.
  std::string take_rest() { return std::exchange(pending_, {}); }

 private:
  Stream& stream_;
  std::size_t limit_;
  std::string pending_;
  std::size_t searched_ = 0;
};

}  // namespace attest::async
