// A running machine's ends: panics, deaths, shutdowns, crashes, time limits.
#include "bed.h"

namespace attest::core {
namespace {

class Life : public Bed {};

TEST_F(Life, APanicLineEndsARunningCommandWithTheCauseAndTheConsole) {
  make({"web"});
  auto command = busy(machine("web"));
  fakes.print("web", "all is well\nKernel panic - not syncing: Fatal exception\n");
  auto text = command.get();
  EXPECT_THAT(text,
              AllOf(HasSubstr("machine 'web' is gone: the kernel panicked: 'Kernel panic - not "
                              "syncing: Fatal exception'"),
                    HasSubstr("| all is well"), HasSubstr("using machine 'web'")));
  EXPECT_EQ(text.find("console, last lines"), text.rfind("console, last lines")) << text;
  EXPECT_FALSE(machine("web").is_up());
}

TEST_F(Life, AWaitForTheEndOfAGuestThatPanickedEndsThoughItsProcessLives) {
  make({"web"});
  machine("web").start();
  auto wait = aside([&] { machine("web").wait_for_shutdown(); });
  fakes.print("web", "Kernel panic - not syncing: Fatal exception\n");
  auto text = wait.get();
  // The wait may have come after the panic; both say the same.
  EXPECT_THAT(text, HasSubstr("the kernel panicked"));
}

TEST_F(Life, TheGuestsDeathEndsARunningCommandWithTheCause) {
  make({"web"});
  auto command = busy(machine("web"));
  fakes.end("web", {.orderly = false, .cause = "QEMU was killed by signal 9 (Killed)"});
  EXPECT_THAT(command.get(), HasSubstr("machine 'web' is gone: QEMU was killed by signal 9"));
}

TEST_F(Life, ACommandAfterADeathStartsTheMachineAgain) {
  make({"web"});
  machine("web").start();
  fakes.end("web", {.orderly = false, .cause = "it fell"});
  EXPECT_THROW(machine("web").wait_for_shutdown(), Error);
  EXPECT_EQ(machine("web").succeed("echo back"), "back\n");
  EXPECT_EQ(fakes.boots("web"), 2);
}

TEST_F(Life, WaitForShutdownReturnsAfterAnOrderlyEndAndThrowsAfterACrash) {
  make({"web"});
  machine("web").start();
  fakes.end("web", {.orderly = true, .cause = "it powered off"});
  machine("web").wait_for_shutdown();
  EXPECT_FALSE(machine("web").is_up());
  machine("web").start();
  fakes.end("web", {.orderly = false, .cause = "its power failed"});
  auto text = error_of(Error::Kind::guest, [&] { machine("web").wait_for_shutdown(); });
  EXPECT_THAT(text, HasSubstr("its power failed"));
}

TEST_F(Life, WaitForShutdownHasALimit) {
  make({"web"});
  machine("web").start();
  auto text =
      error_of(Error::Kind::timeout, [&] { machine("web").wait_for_shutdown({.timeout = 50ms}); });
  EXPECT_THAT(text, HasSubstr("waiting for machine 'web' to power off"));
  EXPECT_TRUE(machine("web").is_up());
}

TEST_F(Life, AShutdownThatNeverEndsKillsAndSaysSo) {
  make({"web"}, {.shutdown = 1s});
  fakes.behave("web", {.shutdown_hangs = true});
  machine("web").start();
  auto text = error_of(Error::Kind::timeout, [&] { machine("web").shutdown(); });
  EXPECT_THAT(text, HasSubstr("shutting down machine 'web', which was killed then"));
  EXPECT_FALSE(machine("web").is_up());
  EXPECT_EQ(machine("web").succeed("echo again"), "again\n");
}

TEST_F(Life, AShutdownEndsARunningCommand) {
  make({"web"});
  auto command = busy(machine("web"));
  machine("web").shutdown();
  EXPECT_THAT(command.get(), HasSubstr("machine 'web' is gone"));
  machine("web").shutdown();  // nothing to do
}

TEST_F(Life, ACrashEndsARunningCommand) {
  make({"web"});
  auto command = busy(machine("web"));
  machine("web").crash();
  EXPECT_THAT(command.get(), HasSubstr("crash() pulled its plug"));
}

TEST_F(Life, TheWholeRunsLimitCutsACommand) {
  make({"web"}, {.global = 3s});
  auto text = error_of(Error::Kind::timeout, [&] { machine("web").succeed("sleep 60"); });
  EXPECT_THAT(text, HasSubstr("timeouts.global"));
}

TEST_F(Life, ALimitBeyondAllTimeIsNone) {
  make({"web"});
  auto longest = std::chrono::milliseconds::max();
  EXPECT_EQ(machine("web").succeed("echo hello", {.timeout = longest}), "hello\n");
}

TEST_F(Life, StartsCrashesAndCommandsAtTheSameTimeAllEnd) {
  make({"web"});
  std::vector<std::future<std::string>> calls;
  for (int i = 0; i < 3; ++i) {
    calls.push_back(aside([&] { machine("web").start(); }));
    calls.push_back(aside([&] { machine("web").crash(); }));
    calls.push_back(aside([&] { machine("web").succeed("sleep 0.05"); }));
    calls.push_back(aside([&] { machine("web").shutdown(); }));
  }
  for (auto& call : calls) {
    ASSERT_EQ(call.wait_for(60s), std::future_status::ready);
    call.get();  // an Error, or none: whoever came first
  }
  machine("web").crash();
  EXPECT_EQ(machine("web").succeed("echo fine"), "fine\n");
}

TEST_F(Life, ManyStartsLeaveNoDescriptorBehind) {
  auto count = [] {
    auto all = std::filesystem::directory_iterator("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  make({"web"});
  machine("web").start();
  machine("web").crash();
  auto before = count();
  for (int i = 0; i < 10; ++i) {
    machine("web").succeed("true");
    machine("web").crash();
  }
  EXPECT_LE(count(), before + 1);  // the last guest's stream may be closed a moment later
}

}  // namespace
}  // namespace attest::core
