// An owned file descriptor. The agent's own: lib/base/fd.h comes with functions that throw.
#pragma once
#include <unistd.h>

#include <utility>

namespace attest::agent {

/// Owns one file descriptor, or none. Move-only.
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
  [[nodiscard]] int release() noexcept { return std::exchange(raw_, -1); }
  void reset(int raw = -1) noexcept {
    if (raw_ >= 0) close(raw_);
    raw_ = raw;
  }

 private:
  int raw_ = -1;
};

}  // namespace attest::agent
