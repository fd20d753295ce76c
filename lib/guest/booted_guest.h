// An agent that attest has started itself, over a shell that stays beside it. A reboot takes the
// agent away and brings the shell back: the agent is then started again.
#pragma once
#include "lib/guest/agent_guest.h"
#include "lib/guest/agent_start.h"
#include "lib/guest/shell_guest.h"

#include <memory>

namespace attest::guest {

/// See AgentGuest. After a restart of the guest, calls fail with Error{guest} until the agent has
/// been started again, which wait_restarted() waits for.
class BootedGuest final : public AgentGuest {
 public:
  /// `shell` has started `agent` as `start` says.
  BootedGuest(std::shared_ptr<proto::Agent> agent, std::unique_ptr<ShellGuest> shell,
              AgentStart start);
  ~BootedGuest() override;

  Task<void> wait_restarted(Deadline deadline) override;
  std::string take_notice() override { return shell_->take_notice(); }

 private:
  static Task<void> watch(std::shared_ptr<proto::Agent> agent, std::shared_ptr<ShellGuest> shell,
                          AgentStart start);

  std::shared_ptr<ShellGuest> shell_;  // shared with the coroutine that watches it
  std::uint64_t seen_banners_ = 1;
};

}  // namespace attest::guest
