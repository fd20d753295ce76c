// The wire format of QEMU's `-netdev stream`: each Ethernet frame after its length, 4 bytes
// big-endian. Pure; the switch does the reading and writing.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace attest::net {

inline constexpr std::size_t length_bytes = 4;
/// A longer frame than any network has: the peer does not speak this format.
inline constexpr std::size_t max_frame = 256 * 1024;

/// The length in the first 4 bytes of `framed`, which must have them.
inline std::uint32_t read_length(std::string_view framed) {
  auto at = [&](std::size_t i) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(framed[i]));
  };
  return at(0) << 24 | at(1) << 16 | at(2) << 8 | at(3);
}

/// `frame` with its length in front.
std::string encode_frame(std::string_view frame);

/// Cuts the bytes of one peer into frames, however they were split on the way. Whole frames are
/// not copied; only one that spans two feeds is put together here.
class FrameSplitter {
 public:
  /// Takes the next bytes. They must stay valid, and so do the results of next(), until the
  /// next feed(). Call next() until it returns nullopt before feeding again.
  void feed(std::string_view bytes);
  /// The next whole frame, its length still in front; nullopt when more bytes are needed or
  /// broken() is true.
  std::optional<std::string_view> next();
  /// True once a length was 0 or above max_frame: nothing after it can be understood.
  bool broken() const noexcept { return broken_; }

 private:
  bool grow_partial(std::size_t target);

  std::string_view input_;
  std::string partial_;  // the beginning of a frame that spans feeds
  std::string joined_;   // such a frame once it is whole, for as long as its view is valid
  bool broken_ = false;
};

}  // namespace attest::net
