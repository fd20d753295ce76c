// Process: a command that runs while the test goes on, and outlives this and that.
#include "bed.h"

namespace attest::core {
namespace {

class Spawn : public Bed {};

TEST_F(Spawn, WaitReturnsWhatWasNotReadAndTheExitCode) {
  make({"web"});
  auto process = machine("web").spawn({.argv = {"sh", "-c", "echo a; echo b; printf c; exit 7"}});
  EXPECT_EQ(process.read_line(), "a");
  auto result = process.wait();
  EXPECT_EQ(result.exit_code, 7);
  EXPECT_EQ(result.output, "b\nc");
  EXPECT_EQ(process.wait().exit_code, 7);  // again: nothing is left to read
  EXPECT_EQ(process.wait().output, "");
}

TEST_F(Spawn, ReadsToTheEndOfItsInput) {
  make({"web"});
  auto process = machine("web").spawn({.argv = {"sort"}});
  process.write("b\na\n");
  process.close_stdin();
  EXPECT_EQ(process.wait().output, "a\nb\n");
}

TEST_F(Spawn, KillSendsASignalToTheGroup) {
  make({"web"});
  auto process = machine("web").spawn({.shell = "echo up; sleep 60"});
  EXPECT_EQ(process.read_line(), "up");
  process.kill(9);
  EXPECT_EQ(process.wait({.timeout = 20s}).exit_code, 128 + 9);
  process.kill();  // nothing to do
}

TEST_F(Spawn, DroppingEndsIt) {
  make({"web"});
  {
    auto process = machine("web").spawn({.shell = "echo $BASHPID; exec sleep 4711"});
    ASSERT_TRUE(process.read_line());
  }
  machine("web").wait_until_fails("pgrep -f 'sleep 471[1]'", {.timeout = 20s});
}

TEST_F(Spawn, DetachedItRunsOnAndTheHandleIsOfNoUse) {
  make({"web"});
  auto process = machine("web").spawn({.shell = "echo up; exec sleep 4712 </dev/null >/dev/null"});
  EXPECT_EQ(process.read_line(), "up");
  process.detach();
  EXPECT_EQ(machine("web").succeed("pgrep -cf 'sleep 471[2]'"), "1\n");
  auto text = error_of(Error::Kind::usage, [&] { process.read_line(); });
  EXPECT_THAT(text, HasSubstr("detached"));
  machine("web").succeed("pkill -f 'sleep 471[2]'");
}

TEST_F(Spawn, PastItsOwnTimeoutItIsEnded) {
  make({"web"});
  auto process = machine("web").spawn({.shell = "echo last words; sleep 60", .timeout = 300ms});
  auto text = error_of(Error::Kind::timeout, [&] { process.wait(); });
  EXPECT_THAT(text, AllOf(HasSubstr("last words"), HasSubstr("command `echo last words")));
}

TEST_F(Spawn, TheMachinesEndEndsItWithTheCause) {
  make({"web"});
  auto process = machine("web").spawn({.shell = "echo up; sleep 60"});
  EXPECT_EQ(process.read_line(), "up");
  auto waiting = aside([&] { process.read_line(); });
  machine("web").crash();
  EXPECT_THAT(waiting.get(), HasSubstr("crash() pulled its plug"));
  error_of(Error::Kind::guest, [&] { process.write("x"); });
  error_of(Error::Kind::guest, [&] { process.wait(); });
}

TEST_F(Spawn, AHandleMayOutliveItsDriver) {
  make({"web"});
  auto process = machine("web").spawn({.shell = "echo up; sleep 60"});
  EXPECT_EQ(process.read_line(), "up");
  auto waiting = aside([&] { process.wait(); });
  driver.reset();
  EXPECT_THAT(waiting.get(), HasSubstr("driver"));
  error_of(Error::Kind::usage, [&] { process.read_line(); });
  error_of(Error::Kind::usage, [&] { process.kill(); });
}

TEST_F(Spawn, MovingEndsWhatWasThere) {
  make({"web"});
  auto process = machine("web").spawn({.shell = "exec sleep 4713"});
  process = machine("web").spawn({.shell = "echo second"});
  EXPECT_EQ(process.read_line(), "second");
  machine("web").wait_until_fails("pgrep -f 'sleep 471[3]'", {.timeout = 20s});
}

TEST_F(Spawn, AFloodWaitsForItsReaderInBoundedMemory) {
  make({"web"});
  auto process = machine("web").spawn({.shell = "seq 1 200000"});
  EXPECT_EQ(process.read_line(), "1");
  EXPECT_EQ(machine("web").succeed("echo others go on"), "others go on\n");
  for (int i = 2; i <= 20'000; ++i) ASSERT_EQ(process.read_line(), std::to_string(i));
  auto rest = process.wait();
  EXPECT_TRUE(rest.output.starts_with("20001\n20002\n")) << rest.output.substr(0, 100);
  EXPECT_TRUE(rest.output.ends_with("\n200000\n"));
  EXPECT_EQ(rest.exit_code, 0);
}

TEST_F(Spawn, ACommandIsOneOfTwoKinds) {
  make({"web"});
  error_of(Error::Kind::usage, [&] { static_cast<void>(machine("web").spawn({})); });
  error_of(Error::Kind::usage, [&] { machine("web").run({.argv = {"a"}, .shell = "b"}); });
}

}  // namespace
}  // namespace attest::core
