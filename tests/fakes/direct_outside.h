// An Outside for tests of backends: this process reaches everything itself.
#pragma once
#include "attest/backend.h"
#include "lib/async/child.h"

#include <memory>
#include <string>
#include <vector>

namespace attest::fakes {

/// Connects in our own network namespace, to addresses; the ssh-agent is the one at `agent_socket`.
class DirectOutside final : public Outside {
 public:
  explicit DirectOutside(asio::any_io_executor loop) : loop_(loop) {}

  Task<Socket> connect(std::string host, int port, Deadline deadline) override;
  /// On whichever loop it is called.
  Task<std::pair<Listener, int>> listen(std::string address, int port, Deadline deadline) override;
  Task<Socket> ssh_agent(Deadline deadline) override;
  Task<Socket> run(std::string command, Deadline deadline) override;
  Task<Socket> sweep_cgroup(std::string directory, Deadline deadline) override;

  std::string agent_socket;
  int connections = 0;  ///< how many were asked for

 private:
  asio::any_io_executor loop_;
  std::vector<std::unique_ptr<async::Child>> children_;
};

}  // namespace attest::fakes
