#include "backends/loopback/loopback.h"

#include "lib/async/loop.h"
#include "lib/async/within.h"
#include "lib/guest/guest.h"

#include <gmock/gmock.h>

namespace attest::loopback {
namespace {

using namespace std::chrono_literals;

class LoopbackBackend : public ::testing::Test {
 protected:
  LoopbackBackend() {
    BackendContext context;
    context.machine = "web";
    context.loop = loop.executor();
    context.console = [this](std::string_view bytes) { console += bytes; };
    backend = make_loopback(std::move(context));
  }
  ~LoopbackBackend() override { loop.run(drop()); }

  std::unique_ptr<guest::Guest> start() { return loop.run(boot()); }
  Gone gone() { return loop.run(backend->wait_gone(Deadline::after(10s))); }

  async::Loop loop;
  std::string console;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<guest::Guest> machine;

 private:
  Task<std::unique_ptr<guest::Guest>> boot() {
    auto stream = co_await backend->boot(Deadline::after(10s));
    guest::Bootstrap none;  // named: g++ 12 destroys a temporary of it twice
    co_return co_await guest::greet(std::move(stream), std::move(none), Deadline::after(10s));
  }
  Task<void> drop() {
    machine.reset();
    backend.reset();
    co_return;
  }
};

TEST_F(LoopbackBackend, GreetsAndForwardsItsConsole) {
  machine = start();
  guest::Command command{.shell = "echo hello", .argv = {}};
  EXPECT_EQ(loop.run(machine->run(command, Deadline::after(10s))).output, "hello\n");
  EXPECT_EQ(console, "connecting to host...\n");
  EXPECT_EQ(backend->name(), "loopback");
}

TEST_F(LoopbackBackend, HidesTheHostsTmp) {
  machine = start();
  guest::Command command{.shell = "ls /tmp | wc -l", .argv = {}};
  EXPECT_EQ(loop.run(machine->run(command, Deadline::after(10s))).output, "0\n");
}

TEST_F(LoopbackBackend, ShutsDownInOrder) {
  machine = start();
  loop.run(backend->shutdown(Deadline::after(10s)));
  EXPECT_TRUE(gone().orderly) << gone().cause;
}

TEST_F(LoopbackBackend, IsGoneAfterKillAndBootsAgain) {
  machine = start();
  auto kill = [](Backend* victim) -> Task<void> {
    victim->kill();
    co_return;
  };
  loop.run(kill(backend.get()));
  EXPECT_FALSE(gone().orderly);
  EXPECT_THAT(gone().cause, ::testing::HasSubstr("signal 9"));
  guest::Command command{.shell = "true", .argv = {}};
  EXPECT_THROW(loop.run(machine->run(command, Deadline::after(10s))), Error);
  machine = start();
  EXPECT_EQ(loop.run(machine->run(command, Deadline::after(10s))).exit_code, 0);
}

}  // namespace
}  // namespace attest::loopback
