// One owned file descriptor. Apart from fd.h, whose functions throw: attest-agent, which is built
// without exceptions, includes this too.
#pragma once
#include <unistd.h>

#include <utility>

namespace attest::base {

/// Owns one file descriptor. Move-only; closing never throws.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int raw) noexcept : raw_(raw) {}
  Fd(Fd&& other) noexcept : raw_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  ~Fd() { reset(); }

  int get() const noexcept { return raw_; }
  explicit operator bool() const noexcept { return raw_ >= 0; }

  /// Gives the descriptor away; the caller must close it.
  [[nodiscard]] int release() noexcept { return std::exchange(raw_, -1); }
  /// Closes what is held and takes `raw` instead.
  void reset(int raw = -1) noexcept {
    if (int old = std::exchange(raw_, raw); old >= 0) ::close(old);
  }

 private:
  int raw_ = -1;
};

}  // namespace attest::base
