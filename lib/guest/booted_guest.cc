#include "lib/guest/booted_guest.h"

#include "attest/error.h"

#include <chrono>

namespace attest::guest {
namespace {
constexpr auto start_patience = std::chrono::minutes(2);  // of a boot under emulation
}

BootedGuest::BootedGuest(std::shared_ptr<proto::Agent> agent, std::unique_ptr<ShellGuest> shell,
                         AgentStart start)
    : AgentGuest(agent), shell_(std::move(shell)) {
  // It ends with the shell's channel; what it finds out reaches callers through the agent.
  asio::co_spawn(shell_->channel()->loop(), watch(agent, shell_, start), [](std::exception_ptr) {});
}

BootedGuest::~BootedGuest() { shell_->channel()->close(); }

Task<void> BootedGuest::watch(std::shared_ptr<proto::Agent> agent,
                              std::shared_ptr<ShellGuest> shell, AgentStart start) {
  for (std::uint64_t seen = 1;; seen = shell->channel()->banners()) {
    // The banner alone tells that the agent is gone; the shell is ready a moment later.
    co_await shell->channel()->wait_banner(seen, Deadline::never());
    Error gone(Error::Kind::guest, "the guest restarted; what it ran is gone");
    agent->lose(gone.hint("wait_restarted() returns when it takes commands again"));
    auto reason = co_await start_agent(*shell, *agent, start, Deadline::after(start_patience));
    if (reason.empty()) continue;
    Error failure(Error::Kind::guest,
                  "the guest restarted, and attest-agent could not be started again: " + reason);
    agent->lose(failure);
  }
}

Task<void> BootedGuest::wait_restarted(Deadline deadline) {
  auto shell = shell_;
  co_await shell->channel()->wait_banner(seen_banners_, deadline);
  seen_banners_ = shell->channel()->banners();
  co_await agent().wait_greeted(deadline);
}

}  // namespace attest::guest
