// What whoever watches a VLAN is shown: one frame, who sent it to whom, and what became of it.
#pragma once
#include "lib/net/rules.h"

#include <chrono>
#include <functional>
#include <string_view>

namespace attest::net {

/// A frame that a switch, or an interface of a kernel VLAN, has seen.
struct Seen {
  std::chrono::system_clock::time_point at;
  Member from = 0;
  Member to = 0;           ///< whom it is for; 0: not known to be for one, so for all
  std::string_view frame;  ///< without its length; valid during the call
  const char* fault =
      "";  ///< what took it away: "partition", "loss", "rate", "delay", "mtu"; "": none
};
/// Called on the loop thread once for each frame that comes in, and once more, with its `to`, for
/// each member that a fault keeps it from after that.
using Watcher = std::function<void(const Seen&)>;

}  // namespace attest::net
