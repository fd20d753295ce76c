// DESIGN §1 "Fixture" and "Failures": lifetimes, ends, and what waits say.
#include "contract.h"

#include <thread>

namespace attest {
namespace {
using testing::AllOf;
using testing::HasSubstr;

class Lifecycle : public Contract {};
INSTANTIATE_TEST_SUITE_P(, Lifecycle, ATTEST_CONTRACT_BACKENDS);

TEST_P(Lifecycle, StartIsIdempotent) {
  alpha().start();
  alpha().succeed("echo kept >/tmp/mark");
  alpha().start();
  start_all();
  EXPECT_EQ(alpha().succeed("cat /tmp/mark"), "kept\n");
  EXPECT_TRUE(beta().is_up());
}

TEST_P(Lifecycle, LaterTestsFindTheMachinesAsTheLastOneLeftThem) {
  if (!alpha().is_up()) GTEST_SKIP() << "runs after StartIsIdempotent only";
  EXPECT_EQ(alpha().succeed("cat /tmp/mark"), "kept\n");
}

TEST_P(Lifecycle, AShutDownMachineBootsAgain) {
  auto& same = alpha();
  alpha().start();
  alpha().shutdown();
  EXPECT_FALSE(alpha().is_up());
  alpha().shutdown();  // nothing to do
  EXPECT_EQ(same.succeed("test -e /tmp/mark || echo fresh"), "fresh\n");
}

TEST_P(Lifecycle, ACrashEndsWhatIsUnderWayWithTheCause) {
  alpha().start();
  std::string text;
  std::thread running([&] {
    text = error_of(Error::Kind::guest,
                    [&] { alpha().execute("echo running >/tmp/running; sleep 1000"); });
  });
  alpha().wait_until_succeeds("test -e /tmp/running");
  alpha().crash();
  running.join();
  EXPECT_THAT(text, AllOf(HasSubstr("'alpha' is gone"), HasSubstr("crash()")));
  EXPECT_FALSE(alpha().is_up());
  EXPECT_EQ(alpha().succeed("echo back"), "back\n");
}

TEST_P(Lifecycle, OtherMachinesAreNotTouchedByACrash) {
  start_all();
  alpha().crash();
  EXPECT_EQ(beta().succeed("echo here"), "here\n");
}

TEST_P(Lifecycle, WaitUntilSucceedsReturnsTheLastOutput) {
  alpha().succeed("rm -f /tmp/tries");
  EXPECT_EQ(alpha().wait_until_succeeds(
                "echo x >>/tmp/tries; test $(wc -l </tmp/tries) -ge 3; echo enough"),
            "enough\n");
}

TEST_P(Lifecycle, AWaitThatFailsSaysWhatItSaw) {
  auto text = error_of(Error::Kind::timeout, [&] {
    alpha().wait_until_succeeds("echo last $((40+2)) words; exit $((3+4))",
                                {.timeout = 4s, .interval = 2s});
  });
  EXPECT_THAT(text, AllOf(HasSubstr("attempt"), HasSubstr("the last one exited with code 7"),
                          HasSubstr("last 42 words")));
}

TEST_P(Lifecycle, WaitUntilFailsEndsWithTheFirstFailure) {
  EXPECT_EQ(alpha().wait_until_fails("echo failing; false"), "failing\n");
}

TEST_P(Lifecycle, AWaitOutlivesNoDeadlineWhenItsAttemptHangs) {
  auto started = std::chrono::steady_clock::now();
  error_of(Error::Kind::timeout,
           [&] { alpha().wait_until_succeeds("sleep 1000", {.timeout = 2s}); });
  EXPECT_LT(std::chrono::steady_clock::now() - started, 40s);
}

TEST_P(Lifecycle, AnOpenPortIsFound) {
  alpha().succeed("command -v nc");
  alpha().succeed("setsid nc -lk 127.0.0.1 4711 >/dev/null 2>&1 & echo $! >/tmp/listener");
  alpha().wait_for_open_port(4711, {.address = "127.0.0.1"});
  alpha().succeed("kill $(cat /tmp/listener)");
}

TEST_P(Lifecycle, APortThatNobodyOpensIsATimeout) {
  auto text = error_of(Error::Kind::timeout, [&] {
    alpha().wait_for_open_port(4799, {.address = "127.0.0.1", .timeout = 1s});
  });
  EXPECT_THAT(text, AllOf(HasSubstr("4799"), HasSubstr("1 s")));
}

TEST_P(Lifecycle, SleepPasses) {
  auto started = std::chrono::steady_clock::now();
  alpha().sleep(200ms);
  EXPECT_GE(std::chrono::steady_clock::now() - started, 190ms);
}

TEST_P(Lifecycle, AnUnknownMachineIsNamedWithTheNearest) {
  auto text = error_of(Error::Kind::usage, [&] { machine("alhpa"); });
  EXPECT_THAT(text, AllOf(HasSubstr("'alhpa'"), HasSubstr("alpha, beta"),
                          HasSubstr("did you mean 'alpha'?")));
}

TEST_P(Lifecycle, CallsFromEightThreadsAreSafe) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      for (int round = 0; round < 3; ++round)
        EXPECT_EQ(alpha().succeed("echo " + std::to_string(i)), std::to_string(i) + "\n");
    });
  for (auto& thread : threads) thread.join();
}

TEST_P(Lifecycle, WaitAllJoinsTheErrorsByMachine) {
  auto text = error_of(Error::Kind::guest, [&] {
    wait_all({&alpha(), &beta()}, [](Machine& m) { m.succeed("exit 5"); });
  });
  EXPECT_THAT(text, AllOf(HasSubstr("2 of 2"), HasSubstr("'alpha':"), HasSubstr("'beta':"),
                          HasSubstr("exit code 5")));
}

}  // namespace
}  // namespace attest
