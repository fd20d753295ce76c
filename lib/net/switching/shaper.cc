#include "lib/net/switching/shaper.h"

#include "lib/net/switching/ethernet.h"
#include "lib/net/switching/frames.h"

#include <algorithm>

namespace attest::net {
namespace {

using std::chrono::nanoseconds;

// Each link has a row of its own: neighbouring seeds and members must not have similar ones.
std::uint64_t seed_of(std::uint64_t seed, int member, Direction direction) {
  auto link = static_cast<std::uint64_t>(member) << 2 | static_cast<std::uint64_t>(direction);
  return Dice(Dice(seed).next() ^ link).next();
}

std::size_t header_size(std::string_view frame) {
  return is_tagged(frame) ? ethernet_header + ethernet_tag : ethernet_header;
}

nanoseconds on_the_wire(std::size_t size, std::uint64_t rate) {
  constexpr std::uint64_t bits = 8, second = 1'000'000'000;
  return nanoseconds(size * bits * second / rate);
}

}  // namespace

std::uint64_t Dice::next() noexcept {
  state_ += 0x9e3779b97f4a7c15;
  auto mixed = state_;
  mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
  mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
  return mixed ^ mixed >> 31;
}

bool Dice::hit(double share) noexcept {
  constexpr double steps = 1ull << 53;  // as many as a double tells apart
  return share > 0 && static_cast<double>(next() >> 11) < share * steps;
}

Shaper::Shaper(std::uint64_t seed, int member, Direction direction)
    : frames_(seed_of(seed, member, direction)) {}

void Shaper::set(const Impairment& impairment) {
  if (impairment.delay != does_.delay || impairment.jitter != does_.jitter ||
      impairment.rate != does_.rate)
    last_ = {};
  if (impairment.rate != does_.rate) wire_free_ = {};
  does_ = impairment;
}

Passage Shaper::pass(std::string_view frame, Time now) {
  Dice dice(frames_.next());
  auto header = header_size(frame);
  if (does_.mtu > 0 && frame.size() > header + static_cast<std::size_t>(does_.mtu))
    return {.fault = "mtu"};
  if (dice.hit(does_.loss)) return {.fault = "loss"};
  auto sent = now;
  if (does_.rate > 0) {
    auto begin = std::max(now, wire_free_);
    if (begin - now > max_backlog) return {.fault = "rate"};
    sent = begin + on_the_wire(frame.size(), does_.rate);
  }
  Passage result;
  if (dice.hit(does_.corrupt) && frame.size() > header) {
    auto bit = dice.below((frame.size() - header) * 8);
    result.flip_byte = header + bit / 8;
    result.flip_mask = static_cast<unsigned char>(1u << bit % 8);
  }
  result.copies = dice.hit(does_.duplicate) ? 2 : 1;
  bool may_wait = sent > now || last_ > now || does_.delay.count() > 0 || does_.jitter.count() > 0;
  may_wait = may_wait || does_.reorder > 0;
  if (may_wait && waiting_ + static_cast<std::size_t>(result.copies) * frame.size() > max_waiting)
    return {.fault = does_.rate > 0 ? "rate" : "delay"};

  if (does_.rate > 0) wire_free_ = sent;
  for (int copy = 0; copy < result.copies; ++copy) {
    auto& at = result.at[static_cast<std::size_t>(copy)];
    at = release(dice, sent);
    if (at > now) waiting_ += frame.size();
  }
  return result;
}

Shaper::Time Shaper::release(Dice& dice, Time sent) {
  nanoseconds wait = does_.delay, jitter = does_.jitter;
  if (jitter.count() > 0) {
    auto steps = static_cast<std::uint64_t>(jitter.count()) * 2 + 1;
    wait += nanoseconds(static_cast<std::int64_t>(dice.below(steps))) - jitter;
    wait = std::max(wait, nanoseconds(0));
  }
  auto at = std::max(last_, sent + wait);
  if (dice.hit(does_.reorder)) return at + held_back;
  return last_ = at;
}

std::string flipped(std::string_view framed, const Passage& passage) {
  std::string copy(framed);
  auto& byte = copy[length_bytes + passage.flip_byte];
  byte = static_cast<char>(static_cast<unsigned char>(byte) ^ passage.flip_mask);
  return copy;
}

}  // namespace attest::net
