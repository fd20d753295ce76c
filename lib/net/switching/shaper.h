// What the link of one member does to frames in one direction: an Impairment, carried out. Pure:
// time is passed in, and all choices follow from a seed.
#pragma once
#include "attest/network.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace attest::net {

/// A row of numbers that look random and are the same for the same seed, on every machine
/// (splitmix64, which needs no warming up, so that one for each frame costs nothing).
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() noexcept;
  /// True with a probability of `share`.
  bool hit(double share) noexcept;
  /// From 0 to `limit` - 1.
  std::uint64_t below(std::uint64_t limit) noexcept { return next() % limit; }

 private:
  std::uint64_t state_;
};

/// What becomes of one frame.
struct Passage {
  using Time = std::chrono::steady_clock::time_point;

  const char* fault = "";     ///< what took it away, in the words of Seen; "": nothing
  int copies = 0;             ///< that go on
  std::array<Time, 2> at{};   ///< when each does
  std::size_t flip_byte = 0;  ///< whose bits are to be changed by `flip_mask`; 0: none
  unsigned char flip_mask = 0;
};

/// One link in one direction. The n-th frame's choices depend on the seed and on n only, so that
/// those that time takes away (a rate) do not change what happens to others.
class Shaper {
 public:
  using Time = Passage::Time;
  /// Bytes that may wait for their time; more are dropped.
  static constexpr std::size_t max_waiting = 16 << 20;
  /// Time on the wire of what may wait for a rate.
  static constexpr std::chrono::milliseconds max_backlog{100};
  /// How long a frame that is reordered waits in addition.
  static constexpr std::chrono::milliseconds held_back{5};

  Shaper(std::uint64_t seed, int member, Direction direction);

  /// From the next frame on. Its row of choices goes on, and so does a rate's clock; frames of
  /// before another delay or rate are overtaken, not waited for.
  void set(const Impairment& impairment);
  /// Decides on `frame`, which has an Ethernet header and comes at `now`. Copies whose time is
  /// later count as waiting until went_on() is called for each of them.
  Passage pass(std::string_view frame, Time now);
  void went_on(std::size_t size) noexcept { waiting_ -= size; }
  std::size_t waiting() const noexcept { return waiting_; }

 private:
  Time release(Dice& dice, Time sent);

  Dice frames_;  // one number for each
  Impairment does_;
  Time wire_free_{};  // when a rate has sent all before
  Time last_{};       // the latest release, which none but the reordered overtake
  std::size_t waiting_ = 0;
};

/// A copy of `framed` (a frame, its length in front) with the change that `passage` asks for.
std::string flipped(std::string_view framed, const Passage& passage);

}  // namespace attest::net
