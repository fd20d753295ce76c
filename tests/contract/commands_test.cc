// DESIGN §1 "Commands".
#include "contract.h"

#include <thread>

namespace attest {
namespace {
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Commands : public Contract {};
INSTANTIATE_TEST_SUITE_P(, Commands, ATTEST_CONTRACT_BACKENDS);

TEST_P(Commands, EveryOperationStartsItsMachine) {
  alpha().crash();
  EXPECT_FALSE(alpha().is_up());
  EXPECT_EQ(alpha().succeed("echo hello"), "hello\n");
  EXPECT_TRUE(alpha().is_up());
}

TEST_P(Commands, AnyExitCodeIsAResult) {
  EXPECT_EQ(alpha().execute("true").exit_code, 0);
  EXPECT_EQ(alpha().execute("exit 255").exit_code, 255);
  EXPECT_EQ(alpha().execute("kill -9 $BASHPID").exit_code, 128 + 9);
}

TEST_P(Commands, StdoutAndStderrComeBackByteForByte) {
  auto result = alpha().execute(R"(printf 'a\0b\377\r\n\n'; printf 'err\n\n' >&2)");
  EXPECT_EQ(result.output, std::string("a\0b\377\r\n\n", 7));
  EXPECT_EQ(result.error_output, "err\n\n");
}

TEST_P(Commands, OutputWithoutALineEndStaysWithoutOne) {
  EXPECT_EQ(alpha().succeed("printf end"), "end");
  EXPECT_EQ(alpha().succeed("true"), "");
}

TEST_P(Commands, AMegabyteArrivesWhole) {
  auto megabyte = [&] { return alpha().succeed("head -c 1000000 /dev/zero | tr '\\0' x"); };
  // QEMU throws away what a virtconsole says while nobody reads, which a busy host brings about;
  // the stand-ins' shells are such consoles, too. Over the backdoor that must be an error then, and
  // never a wrong text.
  const auto& config = driver().config().machines.at("alpha");
  const bool lossy = (GetParam() == "qemu" && !config.qemu.agent) ||
                     (GetParam() == "firecracker" && !config.firecracker.agent) ||
                     (GetParam() == "cloud_hypervisor" && !config.cloud_hypervisor.agent);
  for (int left = lossy ? 5 : 0; left > 0; --left) {
    try {
      EXPECT_EQ(megabyte(), std::string(1'000'000, 'x'));
      return;
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(Error::Kind::protocol));
      EXPECT_THAT(error.what(), HasSubstr("bytes of the reply were lost"));
    }
  }
  EXPECT_EQ(megabyte(), std::string(1'000'000, 'x'));
}

TEST_P(Commands, AreStrict) {
  EXPECT_NE(alpha().execute("false; true").exit_code, 0);
  EXPECT_NE(alpha().execute("false | true").exit_code, 0);
  EXPECT_NE(alpha().execute("echo $undefined_variable").exit_code, 0);
}

TEST_P(Commands, AreNotStrictWhereThatIsSaid) {
  EXPECT_EQ(
      alpha().execute("false; false | true; echo $undefined_variable", {.strict = false}).output,
      "\n");
}

TEST_P(Commands, RunAsRootInTmpWithAKnownEnvironment) {
  EXPECT_EQ(alpha().succeed("id -u; pwd; echo $HOME $DISPLAY"), "0\n/tmp\n/root :0.0\n");
  EXPECT_THAT(alpha().succeed("echo $PATH"), HasSubstr("/usr/bin"));
}

TEST_P(Commands, SeeTheEnvironmentOfTheConfig) {
  EXPECT_EQ(alpha().succeed("echo $FROM_CONFIG"), "a value\n");
  EXPECT_EQ(beta().succeed("echo ${FROM_CONFIG-none}"), "none\n");
}

TEST_P(Commands, ReadNothing) {
  EXPECT_EQ(alpha().succeed("cat; readlink /proc/self/fd/0"), "/dev/null\n");
}

TEST_P(Commands, HaveAProcessGroupOfTheirOwn) {
  auto own = R"(read -r a b c d group rest </proc/$BASHPID/stat; echo $((group == BASHPID)))";
  EXPECT_EQ(alpha().succeed(own), "1\n");
}

TEST_P(Commands, CarryNoStateOver) {
  alpha().succeed("cd /; carried=1; export carried; set +e; f() { :; }; umask 077");
  EXPECT_EQ(alpha().succeed("pwd; echo ${carried-none}; type f 2>/dev/null || echo none; umask"),
            "/tmp\nnone\nnone\n0022\n");
}

TEST_P(Commands, SeeNothingOfTheProtocol) {
  // 3 is ls's own.
  EXPECT_EQ(alpha().succeed("ls /proc/self/fd | sort -n | tr '\\n' ' '"), "0 1 2 3 ");
  EXPECT_THAT(alpha().succeed("set; env"), Not(HasSubstr("attest_")));
}

TEST_P(Commands, AreDedented) {
  EXPECT_EQ(alpha().succeed(R"(
    cat <<EOF
    first
      second
    EOF
  )"),
            "first\n  second\n");
}

TEST_P(Commands, RunDirectlyWithoutAShell) {
  auto result = alpha().run({"printf", "%s|", "$HOME", "a b", "*", "it's", ""});
  EXPECT_EQ(result.output, "$HOME|a b|*|it's||");
  EXPECT_EQ(alpha().run({"no-such-program"}).exit_code, 127);
}

TEST_P(Commands, AFailedOneCarriesBothOutputs) {
  auto text = error_of(Error::Kind::guest,
                       [&] { alpha().succeed("echo to-stdout; echo to-stderr >&2; exit 3"); });
  EXPECT_THAT(text, AllOf(HasSubstr("exit code 3"), HasSubstr("to-stdout"), HasSubstr("to-stderr"),
                          HasSubstr("'alpha'")));
}

TEST_P(Commands, OneThatShouldFailAndDoesNotIsAnError) {
  EXPECT_EQ(alpha().fail("echo no; false"), "no\n");
  auto text = error_of(Error::Kind::guest, [&] { alpha().fail("echo yes"); });
  EXPECT_THAT(text, AllOf(HasSubstr("`echo yes` unexpectedly succeeded"), HasSubstr("| yes")));
}

TEST_P(Commands, SeveralAreJoined) { EXPECT_EQ(alpha().succeed({"echo a", "echo b"}), "a\nb\n"); }

TEST_P(Commands, ANulByteIsAUsageError) {
  error_of(Error::Kind::usage, [&] { alpha().execute(std::string_view("echo \0", 6)); });
  EXPECT_EQ(alpha().succeed("echo still here"), "still here\n");
}

TEST_P(Commands, ATimeoutCarriesTheOutputSoFar) {
  auto text = error_of(Error::Kind::timeout, [&] {
    alpha().execute("echo before; echo complaint >&2; sleep 1000", {.timeout = 2s});
  });
  EXPECT_THAT(text, AllOf(HasSubstr("before"), HasSubstr("complaint"), HasSubstr("2 s")));
  EXPECT_EQ(alpha().succeed("pgrep -f 'sleep 100[0]' || echo gone"), "gone\n");
}

TEST_P(Commands, AChildThatKeepsStdoutOpenDoesNotHang) {
  auto started = std::chrono::steady_clock::now();
  EXPECT_EQ(alpha().succeed("setsid sleep 300 & echo $! >/tmp/kept; echo done"), "done\n");
  EXPECT_LT(std::chrono::steady_clock::now() - started, 60s);
  alpha().succeed("kill $(cat /tmp/kept)");
}

TEST_P(Commands, SeveralRunAtTheSameTimeOnOneMachine) {
  alpha().succeed("rm -f /tmp/meet; mkfifo /tmp/meet");
  std::string read;
  std::thread reader([&] { read = alpha().succeed("cat /tmp/meet"); });
  alpha().succeed("echo through >/tmp/meet");  // hangs if the reader had to end first
  reader.join();
  EXPECT_EQ(read, "through\n");
}

TEST_P(Commands, ASlowOneDelaysNoOtherMachine) {
  alpha().start();
  beta().start();
  alpha().succeed("rm -f /tmp/slow");
  std::thread slow([&] {
    EXPECT_THROW(alpha().execute("touch /tmp/slow; sleep 300", {.timeout = 100s}), Error);
  });
  // If beta had to wait for alpha, this would take 100 s.
  EXPECT_EQ(beta().succeed("echo quick", {.timeout = 15s}), "quick\n");
  alpha().wait_for_file("/tmp/slow");  // else the crash might come first, and it start alpha anew
  alpha().crash();
  slow.join();
}

}  // namespace
}  // namespace attest
