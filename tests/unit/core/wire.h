// Machines of a driver as bare peers of its switch: what their cards would send.
#pragma once
#include "bed.h"
#include "tests/unit/net/peer.h"

#include <algorithm>
#include <map>
#include <string>
#include <thread>

namespace attest::core {

class Wired : public Bed {
 protected:
  /// A peer for each name, on VLAN 1: stations 1, 2, ... in the alphabet's order.
  void wire(std::vector<std::string> names) {
    make(names);
    driver->start_all();
    std::sort(names.begin(), names.end());
    for (auto& name : names) {
      auto socket = base::connect_unix(fakes.context(name).network.at(0).socket);
      peers.emplace(name, net::Peer(std::move(socket)));
    }
    // A frame for a peer that is not accepted yet would be lost.
    for (auto& from : names)
      for (auto& to : names)
        if (from != to) meet(from, to);
  }

  LinkStats stats(const std::string& name) { return driver->network().link(name).stats(); }

  /// Sends a frame to everybody, and returns when the switch has dealt with it.
  void send(const std::string& from, std::string_view text = "hello") {
    auto before = stats(from).from_machine;
    auto station = static_cast<int>(std::distance(peers.begin(), peers.find(from))) + 1;
    peers.at(from).send(net::frame(0xff, station, text));
    for (auto end = Deadline::after(30s); stats(from).from_machine == before;
         std::this_thread::yield())
      if (end.passed()) throw Error(Error::Kind::timeout, "the switch took no frame of " + from);
  }
  /// Whether a frame that `from` sends to everybody comes to `to`.
  bool passes(const std::string& from, const std::string& to) {
    auto before = stats(to).to_machine;
    send(from);
    return stats(to).to_machine > before;
  }

  std::map<std::string, net::Peer> peers;

 private:
  void meet(const std::string& from, const std::string& to) {
    for (auto end = Deadline::after(30s); !passes(from, to); std::this_thread::yield())
      if (end.passed())
        throw Error(Error::Kind::timeout, "no frame of " + from + " comes to " + to);
  }
};

}  // namespace attest::core
