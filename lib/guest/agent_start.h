// Starts the agent that this library carries in a guest that has none, over its backdoor shell.
#pragma once
#include "lib/guest/shell_guest.h"
#include "lib/proto/agent.h"

#include <filesystem>
#include <memory>
#include <string>

namespace attest::guest {

/// Where the agent comes from and how it is reached.
struct AgentStart {
  std::string_view binary;           ///< the executable
  std::filesystem::path shared_dir;  ///< of the host; the guest sees it as /tmp/shared; empty: none
  std::string transport = "--port org.attest.agent.0";  ///< the agent's arguments
};

/// Copies the agent into the guest, through the shared directory or in chunks over the shell,
/// starts it, and waits until it greets on `agent`. Returns "" then, else why it could not be
/// started: another architecture, nowhere to write or execute, no such port. `guest` and `agent`
/// must outlive the call. Throws Error{host} when the connection ends, Error{guest} when the guest
/// restarts.
Task<std::string> start_agent(ShellGuest& guest, proto::Agent& agent, AgentStart start,
                              Deadline deadline);

}  // namespace attest::guest
