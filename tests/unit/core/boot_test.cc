// What becomes of boots that fail, hang or are cut short.
#include "bed.h"

#include <utility>

namespace attest::core {
namespace {

class Boot : public Bed {};

const Error no_space(Error::Kind::host, "no space left for the overlay");

TEST_F(Boot, AMachineThatIsOffStartsAtItsFirstCommand) {
  make({"web"});
  EXPECT_FALSE(machine("web").is_up());
  EXPECT_EQ(machine("web").succeed("echo hello"), "hello\n");
  EXPECT_TRUE(machine("web").is_up());
  EXPECT_EQ(fakes.boots("web"), 1);
}

TEST_F(Boot, OneFailureOfAllIsThrownAsItIs) {
  make({"db", "web"});
  fakes.behave("db", {.boot_error = no_space});
  auto text = error_of(Error::Kind::host, [&] { driver->start_all(); });
  EXPECT_THAT(text, testing::StartsWith("no space left for the overlay\n  while booting machine "
                                        "'db'"));
  EXPECT_TRUE(machine("web").is_up());
}

TEST_F(Boot, SeveralFailuresAreJoinedWithTheirNames) {
  make({"cache", "db", "web"});
  fakes.behave("db", {.boot_error = no_space});
  fakes.behave("web", {.boot_error = Error(Error::Kind::unsupported, "no KVM here")});
  auto text = error_of(Error::Kind::host, [&] { driver->start_all(); });
  EXPECT_THAT(text, AllOf(HasSubstr("2 of 3 machines did not start: 'db', 'web'"),
                          HasSubstr("machine 'db':\n  | no space left"),
                          HasSubstr("machine 'web':\n  | no KVM here")));
  EXPECT_TRUE(machine("cache").is_up());
}

TEST_F(Boot, AFailedOneFailsAgainAtOnceUntilACrash) {
  make({"web"});
  fakes.behave("web", {.boot_error = no_space});
  auto first = error_of(Error::Kind::host, [&] { machine("web").start(); });
  fakes.behave("web", {});
  auto second = error_of(Error::Kind::host, [&] { machine("web").start(); });
  EXPECT_EQ(first, second);
  EXPECT_EQ(fakes.boots("web"), 1);
  machine("web").crash();
  machine("web").start();
  EXPECT_TRUE(machine("web").is_up());
}

TEST_F(Boot, AnExceptionThatIsNoErrorBecomesOne) {
  make({"web"});
  // The work directory's place is taken, which std::filesystem tells in its own way.
  base::write_file(dir.path() / "web", "");
  auto text = error_of(Error::Kind::host, [&] { machine("web").start(); });
  EXPECT_THAT(text, HasSubstr("while booting machine 'web'"));
}

TEST_F(Boot, OneThatNeverReturnsEndsAtItsLimit) {
  make({"web"}, {.boot = 1s});
  fakes.behave("web", {.boot_hangs = true});
  auto text = error_of(Error::Kind::timeout, [&] { machine("web").start(); });
  EXPECT_THAT(text, AllOf(HasSubstr("starting the machine"), HasSubstr("machine 'web'")));
}

TEST_F(Boot, OneThatNeverGreetsEndsAtItsLimitWithTheConsole) {
  make({"web"}, {.boot = 2s});
  fakes.behave("web", {.boot_waits = true, .guest = "exec cat >/dev/null"});
  auto start = aside([&] { machine("web").start(); });
  ASSERT_TRUE(fakes.wait_for_boots("web"));
  fakes.print("web", "[ 1.0] mounting nothing\n");
  fakes.let_boot("web");
  EXPECT_THAT(start.get(), AllOf(HasSubstr("greeting"), HasSubstr("booting machine 'web'"),
                                 HasSubstr("| [ 1.0] mounting nothing")));
  EXPECT_FALSE(machine("web").is_up());
}

TEST_F(Boot, AGuestThatDiesBeforeItsGreetingIsReportedWithItsCause) {
  make({"web"});
  fakes.behave("web", {.guest = "exit 7"});
  auto text = error_of(Error::Kind::guest, [&] { machine("web").start(); });
  EXPECT_THAT(text, AllOf(HasSubstr("exited with code 7"), HasSubstr("greeting"),
                          HasSubstr("booting machine 'web'")));
}

TEST_F(Boot, APanicEndsItAtOnceAndShowsTheConsoleOnce) {
  make({"web"});
  fakes.behave("web", {.boot_hangs = true});
  auto start = aside([&] { machine("web").start(); });
  ASSERT_TRUE(fakes.wait_for_boots("web"));
  fakes.print("web", "Kernel panic - not syncing: no init\n");
  auto text = start.get();
  EXPECT_THAT(text, HasSubstr("the kernel panicked"));
  EXPECT_EQ(text.find("console, last lines"), text.rfind("console, last lines")) << text;
}

TEST_F(Boot, ACrashEndsItEvenIfTheBackendHeedsNothing) {
  make({"web"});
  fakes.behave("web", {.boot_hangs = true});
  auto start = aside([&] { machine("web").start(); });
  ASSERT_TRUE(fakes.wait_for_boots("web"));
  machine("web").crash();
  EXPECT_THAT(start.get(), HasSubstr("crash() pulled its plug"));
  fakes.behave("web", {});
  EXPECT_EQ(machine("web").succeed("echo again"), "again\n");
}

TEST_F(Boot, ItsFailureEndsAWaitForTheMachinesEnd) {
  make({"web"}, {.boot = 2s});
  fakes.behave("web", {.boot_hangs = true});
  auto start = aside([&] { machine("web").start(); });
  ASSERT_TRUE(fakes.wait_for_boots("web"));
  auto text = error_of(Error::Kind::guest, [&] { machine("web").wait_for_shutdown(); });
  EXPECT_THAT(text, HasSubstr("its boot failed"));
  start.get();
}

TEST_F(Boot, TwoCallersShareOne) {
  make({"web"});
  fakes.behave("web", {.boot_waits = true});
  auto first = aside([&] { machine("web").start(); });
  auto second = aside([&] { machine("web").succeed("true"); });
  ASSERT_TRUE(fakes.wait_for_boots("web"));
  fakes.let_boot("web");
  EXPECT_EQ(first.get(), "");
  EXPECT_EQ(second.get(), "");
  EXPECT_EQ(fakes.boots("web"), 1);
}

TEST_F(Boot, TheLimitIsScaledByTheFactor) {
  make({"web"}, {.boot = 100s}, 0.01);
  fakes.behave("web", {.boot_hangs = true});
  auto begun = std::chrono::steady_clock::now();
  error_of(Error::Kind::timeout, [&] { machine("web").start(); });
  auto took = std::chrono::steady_clock::now() - begun;
  EXPECT_GE(took, 1s);
  EXPECT_LT(took, 50s);
}

}  // namespace
}  // namespace attest::core
