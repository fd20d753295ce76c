// Owned file descriptors. Everything that opens one returns an Fd.
#pragma once
#include <string>
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
  void reset(int raw = -1) noexcept;

 private:
  int raw_ = -1;
};

/// A connected pair of close-on-exec unix stream sockets. Throws Error{host}.
std::pair<Fd, Fd> stream_pair();
/// A close-on-exec pipe: {read end, write end}. Throws Error{host}.
std::pair<Fd, Fd> make_pipe();
/// A unix stream socket bound to `path` (removed first if stale) and listening,
/// close-on-exec. Throws Error{host}; a path over 107 bytes is refused by name.
Fd listen_unix(const std::string& path, int backlog = 128);
/// A unix stream socket connected to `path`. Blocks for the handshake only. Throws Error{host}.
Fd connect_unix(const std::string& path);

}  // namespace attest::base
