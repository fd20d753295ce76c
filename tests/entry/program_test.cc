// What a user sees of a program linked with attest_gtest: places of failures, exit codes,
// skips, and that nothing is forked where nothing runs.
#include "lib/base/file.h"
#include "run_program.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>

namespace {
using attest::fakes::ProgramRun;
using attest::fakes::run_program;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string sample() { return std::getenv("ATTEST_SAMPLE"); }

// "sample.cc:LINE" of the line of sample.cc that carries `marker`.
std::string place_of(const std::string& marker) {
  auto text = attest::base::read_file(std::getenv("ATTEST_SAMPLE_SOURCE"));
  auto before = text.substr(0, text.find(marker));
  return "sample.cc:" + std::to_string(1 + std::count(before.begin(), before.end(), '\n'));
}

ProgramRun run(const std::string& filter, std::vector<std::string> more = {},
               std::map<std::string, std::string> env = {}) {
  std::vector<std::string> argv = {sample(), "--gtest_filter=" + filter};
  argv.insert(argv.end(), more.begin(), more.end());
  return run_program(argv, env);
}

TEST(Program, PassesWithZero) {
  auto result = run("Sample.Passes");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, AllOf(HasSubstr("[  PASSED  ] 1 test"), HasSubstr("backend loopback"),
                                   HasSubstr("timeout factor 1"), HasSubstr("sandbox full")));
}

TEST(Program, ReportsAnErrorAtItsPlaceInTerminalAndXml) {
  attest::base::TempDir dir;
  auto xml = dir.path() / "report.xml";
  auto result = run("Sample.FailsAtItsCall", {"--gtest_output=xml:" + xml.string()});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, AllOf(HasSubstr(place_of("FAILS HERE") + ": Failure"),
                                   HasSubstr("exit code 9"), HasSubstr("| evidence"),
                                   HasSubstr("machine 'one'"), Not(HasSubstr("unknown file"))));
  EXPECT_THAT(attest::base::read_file(xml),
              AllOf(HasSubstr(place_of("FAILS HERE")), HasSubstr("exit code 9"),
                    Not(HasSubstr("unknown file"))));
}

TEST(Program, GoesOnAfterAFailedTest) {
  auto result = run("Sample.FailsAtItsCall:Sample.SecondTestGoesOnAfterAFailure");
  EXPECT_THAT(result.output, HasSubstr("[       OK ] Sample.SecondTestGoesOnAfterAFailure"));
}

TEST(Program, EndsATestAfterAFatalFailureInASubtest) {
  auto result = run("Sample.AFatalFailureInASubtestEndsTheTest");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, AllOf(Not(HasSubstr("NOT REACHED")), HasSubstr("subtest 'inner'")));
}

TEST(Program, GoesOnAfterAnExpectFailureInASubtest) {
  auto result = run("Sample.AnExpectFailureInASubtestGoesOn");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("\nREACHED"));
}

TEST(Program, EndsATestAfterASkipInASubtest) {
  auto result = run("Sample.ASkipInASubtestEndsTheTest");
  EXPECT_EQ(result.exit_code, 77) << result.output;
  EXPECT_THAT(result.output, Not(HasSubstr("NOT REACHED")));
}

TEST(Program, NamesTheSubtestOfAnError) {
  EXPECT_THAT(run("Sample.AnErrorInASubtestNamesIt").output,
              HasSubstr("while subtest 'curl answers'"));
}

TEST(Program, CarriesTracesIntoWaitAllAndEndsTheTest) {
  auto result = run("Sample.AFatalFailureInWaitAllEndsTheTest");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, AllOf(HasSubstr("the caller's trace"), Not(HasSubstr("NOT REACHED"))));
}

TEST(Program, TellsEveryFailureOfWaitAllAlsoForeignOnes) {
  auto result = run("Sample.WaitAllTellsEveryFailure");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, AllOf(HasSubstr("2 of 2 failed"), HasSubstr("exit code 4"),
                                   HasSubstr("'own':\n  | foreign")));
}

TEST(Program, FailsEveryTestOfASuiteWhoseConfigThrows) {
  auto result = run("NoConfig.*");
  EXPECT_EQ(result.exit_code, 1);
  auto second = result.output.find("NoConfig.Second");
  EXPECT_THAT(result.output.substr(0, second), HasSubstr("driver failed: no inventory"));
  EXPECT_THAT(result.output.substr(second), HasSubstr("driver failed: no inventory"));
}

TEST(Program, DoesNotReportACaughtError) {
  EXPECT_EQ(run("Sample.ACaughtErrorIsNoFailure").exit_code, 0);
}

TEST(Program, LeavesForeignExceptionsToGtest) {
  auto result = run("Sample.AForeignExceptionIsReportedByGtest");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("foreign"));
}

TEST(Program, QuotesTheLastErrorOfARetry) {
  EXPECT_THAT(run("Sample.RetryGivesUpWithTheLastError").output,
              AllOf(HasSubstr("the flag did not come true"), HasSubstr("exit code 6")));
}

TEST(Program, MatchersAndEventuallyPass) {
  auto result = run("Sample.MatchersPass");
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

TEST(Program, AFailingMatcherQuotesBothOutputsOfItsOneRun) {
  auto result = run("Sample.AFailingMatcherAsksOnceAndQuotes");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output,
              AllOf(HasSubstr(place_of("MATCHER FAILS HERE") + ": Failure"),
                    HasSubstr("Expected: succeeds at `echo run"),
                    HasSubstr("Actual: machine 'one'"), HasSubstr("exited with code 9"),
                    HasSubstr("| evidence"), HasSubstr("| complaint"), HasSubstr("RUNS 1\nGOES ON"),
                    HasSubstr("Expected: exits with code 0"), HasSubstr("| seen")));
}

TEST(Program, AGuestThatDoesNotAnswerIsAFailedMatch) {
  auto result = run("Sample.AGuestThatDoesNotAnswerIsAFailedMatch");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output,
              AllOf(HasSubstr("which failed: "), HasSubstr("begun"), HasSubstr("GOES ON")));
}

TEST(Program, EventuallyTellsItsAttempts) {
  auto result = run("Sample.EventuallyTellsItsAttempts");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(
      result.output,
      AllOf(HasSubstr("Expected: eventually is equal to 9\n  Actual: 7"), HasSubstr("attempts:"),
            HasSubstr(": 1\n"), HasSubstr(": 2\n"), HasSubstr(" times)"), HasSubstr("GOES ON"),
            HasSubstr("it failed: "), HasSubstr("exit code 5"), Not(HasSubstr("NOT REACHED"))));
}

TEST(Program, FilesArtifactsUnderTheTestAndNamesThemInTheReport) {
  attest::base::TempDir dir;
  auto xml = dir.path() / "report.xml";
  auto result = run("Sample.LeavesThingsBehind", {"--gtest_output=xml:" + xml.string()},
                    {{"ATTEST_ARTIFACTS", dir.path().string()}});
  auto folder = dir.path() / "Sample.LeavesThingsBehind";
  EXPECT_EQ(attest::base::read_file(folder / "notes.txt"), "some notes");
  EXPECT_EQ(attest::base::read_file(folder / "sub/there"), "from inside") << result.output;
  EXPECT_THAT(attest::base::read_file(xml),
              AllOf(HasSubstr("attachment notes.txt"), HasSubstr("subtest outer / inner"),
                    HasSubstr("passed in"), HasSubstr("failed in")));
  EXPECT_THAT(result.output, AllOf(HasSubstr("attest: a line for the log"),
                                   HasSubstr("3 subtests: 1 passed, 2 failed; the slowest took")));
}

TEST(Program, ShowsConsoleLinesUnlessToldNotTo) {
  // The loopback machine's console has this line at each boot.
  auto shown = run("Sample.Passes");
  EXPECT_THAT(shown.output, HasSubstr("one     | connecting"));
  EXPECT_THAT(run("Sample.ConsoleLinesAreShownOrNot").output,
              Not(HasSubstr("one     | connecting")));
}

TEST(Program, SkipsWhatTheHostCannotRunWith77) {
  auto result = run("Lacking.*");
  EXPECT_EQ(result.exit_code, 77) << result.output;
  EXPECT_THAT(result.output, AllOf(HasSubstr("no-such-qemu"), HasSubstr("[  SKIPPED ]")));
}

TEST(Program, FailsWhatItMustHave) {
  auto result = run("Lacking.*", {}, {{"ATTEST_REQUIRE", "qemu"}});
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_EQ(run("Lacking.*", {}, {{"ATTEST_REQUIRE", "kvm"}}).exit_code, 77);
}

TEST(Program, SaysHowToConfigureAtOnce) {
  auto result = run("Unconfigured.*");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_LT(result.took.count(), 20'000);
  EXPECT_THAT(result.output, AllOf(HasSubstr("no machines are configured"),
                                   HasSubstr("--attest_config"), HasSubstr("sample.cc:")));
}

TEST(Program, ABootThatFailedFailsTheOtherTestsWithTheSameCause) {
  auto result = run("Unbootable.*");
  EXPECT_EQ(result.exit_code, 1);
  auto first = result.output.find("/nonexistent/vmlinuz");
  ASSERT_NE(first, std::string::npos);
  EXPECT_NE(
      result.output.find("/nonexistent/vmlinuz", result.output.find("FailsAgainWithTheSameCause")),
      std::string::npos);
}

TEST(Program, NothingThatWasAskedForIsIgnored) {
  EXPECT_THAT(run("Overasked.*").output, HasSubstr("machines.one.graphics: a loopback machine"));
}

TEST(Program, BadFlagsEndWithTwo) {
  auto result = run("Plain.*", {"--attest_confg=x"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.output, HasSubstr("did you mean '--attest_config'?"));
}

TEST(Program, ABadConfigEndsWithTwo) {
  attest::base::TempDir dir;
  auto file = (dir.path() / "bad.json").string();
  attest::base::write_file(file, R"({"machines": {"web": {"memory": 5}}})");
  auto result = run("Plain.*", {"--attest_config=" + file});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.output, AllOf(HasSubstr("machines.web"), HasSubstr("memory_mb")));
}

TEST(Program, NoSelectedTestEndsWith64UnlessAllowed) {
  auto result = run("Nothing.*");
  EXPECT_EQ(result.exit_code, 64);
  EXPECT_THAT(result.output, HasSubstr("'Nothing.*'"));
  EXPECT_EQ(run("Nothing.*", {"--attest_allow_none"}).exit_code, 0);
}

TEST(Program, ListsTheSameTestsEverywhereAndForksNothing) {
  // The helper installs a seccomp filter that kills on fork, clone of a process, and unshare.
  auto result = run_program({std::getenv("ATTEST_NO_FORK"), sample(), "--gtest_list_tests"},
                            {{"ASAN_OPTIONS", "detect_leaks=0"}});  // its check forks
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, AllOf(HasSubstr("Runs/loopback"), HasSubstr("Runs/qemu")));
}

TEST(Program, TheFilterThatRefusesForksWorks) {
  auto result = run_program({std::getenv("ATTEST_NO_FORK"), sample(), "--gtest_filter=Plain.*",
                             "--attest_sandbox=require"});
  EXPECT_NE(result.exit_code, 0);
}

TEST(Program, HelpShowsBothKindsOfFlags) {
  auto result = run_program({sample(), "--help"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.output, AllOf(HasSubstr("--gtest_filter"), HasSubstr("--attest_config")));
}

TEST(Program, DealsItsTestsToShards) {
  int ran = 0;
  for (auto* index : {"0", "1"}) {
    auto result = run("Plain.*:Sample.Passes", {},
                      {{"GTEST_TOTAL_SHARDS", "2"}, {"GTEST_SHARD_INDEX", index}});
    EXPECT_EQ(result.exit_code, 0) << result.output;
    ran += result.output.find("[  PASSED  ] 1 test") != std::string::npos;
  }
  EXPECT_EQ(ran, 2);
}

TEST(Program, RepeatsMakeANewDriverEachTime) {
  auto result = run("Sample.Passes", {"--gtest_repeat=3"});
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

TEST(Program, WorksWithoutASandbox) {
  auto result = run("Sample.Passes", {"--attest_sandbox=off"});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("sandbox none"));
}

TEST(Program, WorksWithPlainGtestMainAndSaysSoOnce) {
  auto result = run_program(
      {std::getenv("ATTEST_SAMPLE_PLAIN"), "--gtest_filter=Sample.Passes:Sample.ACaught*"});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  auto notice = result.output.find("no sandbox was entered");
  ASSERT_NE(notice, std::string::npos);
  EXPECT_EQ(result.output.find("no sandbox was entered", notice + 1), std::string::npos);
}

TEST(Program, ABreakpointInATestIsHitUnderGdb) {
  if (run_program({"gdb", "--version"}).exit_code != 0)
    GTEST_SKIP() << "gdb is not installed: apt-get install gdb";
  auto result = run_program(
      {"gdb", "-batch", "-ex", "break " + place_of("BREAKS HERE"), "-ex", "run", "-ex",
       "backtrace 1", "-ex", "continue", "--args", sample(), "--gtest_filter=Sample.Passes"},
      {{"DEBUGINFOD_URLS", ""}});
  EXPECT_THAT(result.output, AllOf(HasSubstr("hit Breakpoint 1"), HasSubstr("TestBody"),
                                   HasSubstr("[  PASSED  ] 1 test")));
}

}  // namespace
