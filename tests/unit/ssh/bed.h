// A machine over SSH for tests: a backend without the core, and what it said.
#pragma once
#include "unit/ssh/sshd.h"

#include "attest/error.h"
#include "backends/ssh/ssh.h"
#include "fakes/direct_outside.h"
#include "fakes/error_of.h"
#include "lib/async/within.h"
#include "lib/base/text.h"
#include "lib/guest/agent_binary.h"
#include "lib/guest/booted_guest.h"

#include <gmock/gmock.h>

#include <chrono>

namespace attest::ssh {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using Clock = std::chrono::steady_clock;

class SshMachine : public testing::Test {
 protected:
  SshMachine() {
    outside = std::make_shared<fakes::DirectOutside>(loop.executor());
    context.machine = "web";
    context.agent = guest::agent_binary();
    context.loop = loop.executor();
    context.outside = outside;
    context.say = [this](std::string_view text) { said += std::string(text) + "\n"; };
    context.console = [this](std::string_view bytes) { console += bytes; };
  }
  void SetUp() override {
    if (!can_run_sshd().empty()) GTEST_SKIP() << can_run_sshd();
  }
  ~SshMachine() override { loop.run(drop()); }

  /// Boots the machine of `config`, and waits for its greeting.
  void boot(const SshConfig& config, std::chrono::milliseconds limit = 20s) {
    context.config.ssh = config;
    loop.run(boot_and_greet(Deadline::after(limit)));
  }
  void boot_again() { loop.run(boot_and_greet(Deadline::after(20s))); }
  CommandResult run_for(const std::string& text, std::chrono::seconds limit) {
    guest::Command command{.shell = text, .argv = {}};
    return loop.run(machine->run(command, Deadline::after(limit)));
  }
  /// Its output; with "exit N" behind it if that is not 0.
  std::string run(const std::string& text) {
    auto result = run_for(text, 20s);
    return result.output + (result.exit_code ? "exit " + std::to_string(result.exit_code) : "");
  }
  bool has_agent() const { return dynamic_cast<guest::AgentGuest*>(machine.get()) != nullptr; }
  Gone gone() { return loop.run(backend->wait_gone(Deadline::after(20s))); }

  base::TempDir dir;
  async::Loop loop;
  BackendContext context;
  std::shared_ptr<fakes::DirectOutside> outside;
  std::string console, said;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<guest::Guest> machine;

  Task<void> boot_and_greet(Deadline deadline) {
    machine.reset();
    backend.reset();
    backend = make_ssh(context);
    auto stream = co_await backend->boot(deadline);
    guest::Bootstrap none;
    machine = co_await guest::greet(std::move(stream), std::move(none), deadline);
  }
  Task<void> drop() {
    machine.reset();
    backend.reset();
    outside.reset();
    context.outside.reset();
    co_return;
  }
};

}  // namespace attest::ssh
