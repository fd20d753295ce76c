#include "lib/async/lines.h"

#include <array>

namespace attest::async {

Task<std::optional<std::string>> Lines::next() {
  for (;;) {
    if (auto end = pending_.find('\n', searched_); end != std::string::npos) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      searched_ = 0;
      if (line.ends_with('\r')) line.pop_back();
      co_return line;
    }
    searched_ = pending_.size();
    if (pending_.size() > limit_)
      throw Error(Error::Kind::protocol,
                  "a line is longer than " + std::to_string(limit_) + " bytes");
    std::array<char, 4096> buffer;
    std::size_t count = co_await stream_.read_some(buffer);
    if (count == 0) {
      if (pending_.empty()) co_return std::nullopt;
      searched_ = 0;
      co_return std::exchange(pending_, {});
    }
    pending_.append(buffer.data(), count);
  }
}

}  // namespace attest::async
