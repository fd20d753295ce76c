// How frames cross from port to port of a Switch: learning, flooding, and what rules do on the way.
// It reads nothing and waits for nothing: whoever owns it hands in what ports received, and the
// time, and comes back when frames that are delayed are due.
#pragma once
#include "lib/net/rules.h"
#include "lib/net/seen.h"
#include "lib/net/switching/mac_table.h"
#include "lib/net/switching/shaper.h"
#include "lib/net/switching/switch.h"

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace attest::net {

/// A port, plugged in.
struct Plug {
  Plug(std::shared_ptr<Port> port_, int number_, Member member_)
      : port(std::move(port_)), number(number_), member(member_) {}

  const std::shared_ptr<Port> port;
  const int number;
  const Member member;
  std::uint64_t frames_in = 0, discarded = 0, faulted = 0;
  bool left = false;
  // What the rules do to frames from it, and to it; null for the most part: nothing.
  Shaper* from = nullptr;
  Shaper* to = nullptr;

  PortStats stats() const;
};

/// All calls happen on the loop thread. Ports must not leave, nor rules change, during a call.
class Forwarding {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit Forwarding(std::uint64_t seed) : seed_(seed) {}

  std::shared_ptr<Plug> join(std::shared_ptr<Port> port, Member member);
  /// Closes the port of `plug`; what waits for it is lost.
  void leave(Plug& plug);
  void leave(int number);
  /// Closes all ports and forgets what waits.
  void end() noexcept;

  /// Handles frames that `from` received, lengths in front, and what is due by now. Nothing of
  /// `framed` is needed afterwards.
  void take(Plug& from, std::span<const std::string_view> framed, Time now);
  /// Sends what is due.
  void release(Time now);
  /// When something will be; nullopt if nothing waits.
  std::optional<Time> next_release() const;

  void set_rules(Rules rules);
  int watch(Watcher watcher);
  void unwatch(int number) { watchers_.erase(number); }
  SwitchStats stats() const;

 private:
  // Who sent a frame.
  struct Sender {
    int port = 0;
    Member member = 0;
  };
  // A frame, or its way to one port, that waits for its time.
  struct Delayed {
    Sender from;
    int to = 0;  // 0: has yet to be forwarded
    Shaper* link = nullptr;
    std::string framed;
  };

  void come(Plug& from, std::string_view framed, const Addresses& addresses, Time now);
  void learn(const Plug& from, const Addresses& addresses, Time now);
  void forward(Sender from, const Addresses& addresses, std::string_view framed, Time now);
  void deliver(Sender from, Plug& to, std::string_view framed, Time now);
  void give(Plug& to, std::string_view framed);
  bool blocked(Sender from, Plug& to, std::string_view framed);
  void lost(Sender from, Plug& to, std::string_view framed, const char* fault);
  std::string_view changed(std::string_view framed, const Passage& passage);
  void hold(Delayed delayed, std::string_view framed, Time until);
  void release_due(Time now);
  void flush();

  Member member_at(const Addresses& addresses, Time now) const;
  void show(Member from, Member to, std::string_view framed, const char* fault) const;
  Shaper& link(Member member, Direction direction);
  void find_links(Plug& plug);

  std::uint64_t seed_;
  std::map<int, std::shared_ptr<Plug>> plugs_;
  MacTable stations_;
  int last_number_ = 0;
  SwitchStats past_;  // of ports that have left

  Rules rules_;
  std::map<std::pair<Member, Direction>, Shaper> links_;  // of all that ever were shaped
  std::multimap<Time, Delayed> waiting_;                  // those of the same time in their order
  std::map<int, Watcher> watchers_;
  int last_watcher_ = 0;

  // From one call's beginning to its flush.
  std::vector<Plug*> unflushed_;
  std::deque<std::string> kept_;  // frames that are not in the caller's hands
};

}  // namespace attest::net
