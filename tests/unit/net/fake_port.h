// A port without a peer, for tests of what a switch does.
#pragma once
#include "lib/net/switching/frames.h"
#include "lib/net/switching/port.h"

#include <string>
#include <vector>

namespace attest::net {

/// Notes what it is given, as late as the bytes must be valid.
class FakePort final : public Port {
 public:
  Received receive(std::span<char>, std::vector<std::string_view>&) override {
    return Received::nothing_yet;
  }
  Task<void> readable() override { co_return; }
  void add(std::string_view framed) override { added_.push_back(framed); }
  bool has_unflushed() const noexcept override { return !added_.empty(); }
  void flush() override {
    for (auto framed : added_) got.emplace_back(framed.substr(length_bytes));
    sent_ += added_.size();
    added_.clear();
  }
  void close() noexcept override { closed = true; }
  PortStats sent() const override { return {.frames_out = sent_}; }

  std::vector<std::string> got;
  bool closed = false;

 private:
  std::vector<std::string_view> added_;
  std::uint64_t sent_ = 0;
};

}  // namespace attest::net
