// The program that program_test.cc runs: tests that fail, skip and end in every way that
// attest promises something about. Not a test by itself.
#include <attest/gtest.h>

#include <iostream>

namespace {

class Sample : public attest::Test {
 public:
  attest::Config config() const override {
    attest::Config config;
    config.machines["one"].backend = "loopback";
    config.machines["two"].backend = "loopback";
    return config;
  }
};

TEST_F(Sample, Passes) {
  EXPECT_EQ(machine("one").succeed("echo hi"), "hi\n");  // BREAKS HERE
}

TEST_F(Sample, FailsAtItsCall) {
  machine("one").succeed("echo evidence; exit 9");  // FAILS HERE
}

TEST_F(Sample, SecondTestGoesOnAfterAFailure) {
  EXPECT_EQ(machine("one").succeed("echo on"), "on\n");
}

TEST_F(Sample, AFatalFailureInASubtestEndsTheTest) {
  attest::subtest("outer", [] { attest::subtest("inner", [] { ASSERT_EQ(1, 2); }); });
  std::cout << "NOT REACHED" << std::endl;
}

TEST_F(Sample, AnExpectFailureInASubtestGoesOn) {
  attest::subtest("soft", [] { EXPECT_EQ(1, 2); });
  std::cout << "REACHED" << std::endl;
}

TEST_F(Sample, ASkipInASubtestEndsTheTest) {
  attest::subtest("skipping", [] { GTEST_SKIP() << "not today"; });
  std::cout << "NOT REACHED" << std::endl;
}

TEST_F(Sample, AnErrorInASubtestNamesIt) {
  attest::subtest("curl answers", [&] { machine("one").succeed("exit 4"); });
}

TEST_F(Sample, AFatalFailureInWaitAllEndsTheTest) {
  SCOPED_TRACE("the caller's trace");
  attest::wait_all({{"good", [] {}}, {"bad", [] { ASSERT_EQ(3, 4); }}});
  std::cout << "NOT REACHED" << std::endl;
}

TEST_F(Sample, WaitAllTellsEveryFailure) {
  attest::wait_all({{"machine", [&] { machine("one").succeed("exit 4"); }},
                    {"own", [] { throw std::runtime_error("foreign"); }}});
}

TEST_F(Sample, ACaughtErrorIsNoFailure) {
  EXPECT_THROW(machine("one").succeed("false"), attest::Error);
}

TEST_F(Sample, AForeignExceptionIsReportedByGtest) { throw std::runtime_error("foreign"); }

TEST_F(Sample, RetryGivesUpWithTheLastError) {
  attest::retry([&] { return !machine("one").succeed("exit 6").empty(); },
                {.timeout = std::chrono::milliseconds(200), .what = "the flag"});
}

TEST_F(Sample, MatchersPass) {
  using namespace attest;
  using testing::AllOf;
  using testing::HasSubstr;
  using testing::Not;
  auto& one = machine("one");
  EXPECT_THAT(one, Succeeds("echo fine"));
  EXPECT_THAT(one, AllOf(Fails("false"), Not(Succeeds("exit 3"))));
  EXPECT_THAT(one.execute("echo out; echo err >&2; exit 3"),
              AllOf(ExitsWith(3), Prints(HasSubstr("out")), PrintsError("err\n")));
  int calls = 0;
  ATTEST_EVENTUALLY(++calls, testing::Ge(3), std::chrono::seconds(30));
  ATTEST_ASSERT_EVENTUALLY(machine("one"), Succeeds("true"), std::chrono::seconds(30));
  ATTEST_EXPECT_EVENTUALLY(one.succeed("test -e /tmp/late || { touch /tmp/late; exit 1; }; echo x"),
                           "x\n", std::chrono::seconds(30));
}

TEST_F(Sample, AFailingMatcherAsksOnceAndQuotes) {
  EXPECT_THAT(machine("one"),  // MATCHER FAILS HERE
              attest::Succeeds("echo run >>/tmp/runs; echo evidence; echo complaint >&2; exit 9"));
  std::cout << "RUNS " << machine("one").succeed("wc -l </tmp/runs") << "GOES ON" << std::endl;
  EXPECT_THAT(machine("one").execute("echo seen; exit 2"), attest::ExitsWith(0));
}

TEST_F(Sample, AGuestThatDoesNotAnswerIsAFailedMatch) {
  EXPECT_THAT(machine("one"), attest::Succeeds("echo begun; sleep 60",
                                               {.timeout = std::chrono::milliseconds(300)}));
  std::cout << "GOES ON" << std::endl;
}

TEST_F(Sample, EventuallyTellsItsAttempts) {
  int calls = 0;
  ATTEST_EVENTUALLY(++calls > 2 ? 7 : calls, testing::Eq(9), std::chrono::milliseconds(300));
  std::cout << "GOES ON" << std::endl;
  ATTEST_ASSERT_EVENTUALLY(machine("one").succeed("exit 5"), "x", std::chrono::milliseconds(200));
  std::cout << "NOT REACHED" << std::endl;
}

TEST_F(Sample, LeavesThingsBehind) {
  attest::log("a line for the log");
  auto made = attest::attach("notes.txt", "some notes");
  EXPECT_EQ(made, attest::artifact_dir() / "notes.txt");
  machine("one").write_file("/tmp/made/there", "from inside");
  EXPECT_EQ(machine("one").copy_from_machine("/tmp/made/there", "sub"),
            attest::artifact_dir() / "sub/there");
  attest::subtest("outer", [] {
    attest::subtest("inner", [] {});
    attest::subtest("soft", [] { EXPECT_EQ(1, 2); });
  });
}

TEST_F(Sample, ConsoleLinesAreShownOrNot) {
  serial_stdout_off();
  machine("one").crash();
  machine("one").start();
  serial_stdout_on();
}

class NoConfig : public attest::Test {
 public:
  attest::Config config() const override { throw std::runtime_error("no inventory"); }
};

TEST_F(NoConfig, First) {}
TEST_F(NoConfig, Second) {}

class Lacking : public attest::Test {
 public:
  attest::Config config() const override {
    attest::Config config;
    config.machines["one"].qemu.binary = "no-such-qemu";
    return config;
  }
};
TEST_F(Lacking, IsSkippedBeforeAnythingBoots) { machine("one").start(); }

class Unconfigured : public attest::Test {};
TEST_F(Unconfigured, SaysHowToConfigure) { machine("one").start(); }

class Unbootable : public attest::Test {
 public:
  attest::Config config() const override {
    attest::Config config;
    config.machines["one"].kernel = "/nonexistent/vmlinuz";
    return config;
  }
};
TEST_F(Unbootable, FailsOnce) { start_all(); }
TEST_F(Unbootable, FailsAgainWithTheSameCause) { machine("one").succeed("true"); }

class Overasked : public attest::Test {
 public:
  attest::Config config() const override {
    attest::Config config;
    config.machines["one"].backend = "loopback";
    config.machines["one"].graphics = true;
    return config;
  }
};
TEST_F(Overasked, NamesTheKeyThatItsBackendCannotHonour) { machine("one").start(); }

class OnBackends : public attest::TestOn {
 public:
  attest::Config config() const override {
    attest::Config config;
    config.machines["one"];
    return config;
  }
};
TEST_P(OnBackends, Runs) { EXPECT_EQ(machine("one").succeed("echo hi"), "hi\n"); }
INSTANTIATE_TEST_SUITE_P(, OnBackends, attest::backends("loopback", "qemu"), attest::BackendName());

TEST(Plain, NeedsNoMachine) { EXPECT_EQ(1, 1); }

}  // namespace
