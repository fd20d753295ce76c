// What the host runs first: a script that tells about it, takes attest-agent, and becomes it; or
// becomes a shell. All in one channel, so that a start costs a few round trips.
#pragma once
#include "backends/ssh/channel.h"

#include <memory>
#include <string>
#include <string_view>

namespace attest::ssh {

/// What serves on the channel now.
struct Served {
  std::shared_ptr<Channel> channel;
  std::string first;      ///< of what it said already
  bool agent = false;     ///< attest-agent, not a shell
  std::string notice;     ///< why it is not the agent; empty: it is, or nobody wanted it
  bool stopping = false;  ///< the host is shutting down; nothing serves
};

/// Starts attest-agent on the host if `agent` (its program) is not empty and runs there, else a
/// shell. The program lies in a directory of its own, which is removed before the agent begins.
/// Throws Error{unsupported} for a host that runs no commands, Error{host}. `agent` must outlive
/// the call.
Task<Served> serve(std::shared_ptr<Session> session, std::string_view agent);

/// The script's text, for `sh -c` with the arguments MARK. Pure.
std::string_view bootstrap_script();

}  // namespace attest::ssh
