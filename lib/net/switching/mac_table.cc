#include "lib/net/switching/mac_table.h"

namespace attest::net {

void MacTable::learn(Station source, int port, Time now) {
  if (is_group(source)) return;
  if (auto known = by_station_.find(source); known != by_station_.end()) {
    auto entry = known->second;
    entry->port = port;
    entry->heard = now;
    by_age_.splice(by_age_.end(), by_age_, entry);
    return;
  }
  if (by_station_.size() >= capacity) {
    by_station_.erase(by_age_.front().station);
    by_age_.pop_front();
  }
  by_age_.push_back({source, port, now});
  by_station_.emplace(source, std::prev(by_age_.end()));
}

std::optional<int> MacTable::find(Station station, Time now) const {
  auto known = by_station_.find(station);
  // Entries past their lifetime stay until they are replaced: the table is bounded anyway.
  if (known == by_station_.end() || now - known->second->heard > lifetime) return std::nullopt;
  return known->second->port;
}

void MacTable::forget_port(int port) {
  for (auto entry = by_age_.begin(); entry != by_age_.end();) {
    if (entry->port != port) {
      ++entry;
      continue;
    }
    by_station_.erase(entry->station);
    entry = by_age_.erase(entry);
  }
}

}  // namespace attest::net
