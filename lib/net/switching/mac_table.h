// Which station was last heard on which port of a switch. Pure: time is passed in.
#pragma once
#include "lib/net/switching/ethernet.h"

#include <chrono>
#include <list>
#include <optional>
#include <unordered_map>

namespace attest::net {

/// A bounded table that forgets what it has not heard of for a while. Each operation takes
/// constant time, also for a peer that sends from a new address with every frame.
class MacTable {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds lifetime{300};
  static constexpr std::size_t capacity = 1024;

  /// Notes that `source` was heard on `port`. In a full table it takes the place of the station
  /// that has been silent for longest. Group addresses are no senders and are ignored.
  void learn(Station source, int port, Time now);
  /// The port of `station`; nullopt if it was not heard within the lifetime.
  std::optional<int> find(Station station, Time now) const;
  /// Forgets the stations of a port that is gone.
  void forget_port(int port);
  std::size_t size() const noexcept { return by_station_.size(); }

 private:
  struct Entry {
    Station station;
    int port;
    Time heard;
  };
  std::list<Entry> by_age_;  // longest silent first
  std::unordered_map<Station, std::list<Entry>::iterator> by_station_;
};

}  // namespace attest::net
