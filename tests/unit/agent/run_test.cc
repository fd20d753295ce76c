// Commands by argv and by shell text, against the agent's real program on this machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "lib/base/file.h"
#include "lib/base/text.h"
#include "tests/unit/agent/peer.h"

namespace attest::agent_test {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Run : ::testing::Test {
  Agent agent;
  Peer peer = agent.connect();

  AgentFields argv(std::vector<std::string> words, AgentFields more = {}) {
    AgentFields fields{{"op", "run"}};
    for (auto& word : words) fields.add("argv", word);
    auto bytes = fields.encode() + more.encode();
    return AgentFields::decode(bytes).value();
  }
  AgentFields text(std::string_view shell, AgentFields more = {}) {
    AgentFields fields{{"op", "run"}, {"shell", shell}};
    return AgentFields::decode(fields.encode() + more.encode()).value();
  }
  pid_t pid_of(std::uint32_t stream) {
    peer.until([&] { return !peer[stream].events.empty() || peer[stream].over(); });
    return peer[stream].events.empty()
               ? -1
               : static_cast<pid_t>(peer[stream].events[0].number("pid").value_or(-1));
  }
};

struct Case {
  const char* name;
  std::string_view shell;
  int code;
  std::string_view out;
  std::string_view error = "";  // a part of it
};

class ShellTexts : public ::testing::TestWithParam<Case> {};

TEST_P(ShellTexts, EndAndPrintAsWithBashItself) {
  Agent agent;
  Peer peer = agent.connect();
  auto& stream = peer.call({{"op", "run"}, {"shell", GetParam().shell}});
  EXPECT_EQ(stream.code(), GetParam().code) << stream.result("code");
  EXPECT_EQ(stream.out(), GetParam().out);
  EXPECT_THAT(stream.err(), HasSubstr(std::string(GetParam().error)));
  EXPECT_EQ(stream.err().empty(), GetParam().error.empty()) << stream.err();
  EXPECT_TRUE(stream.ended[1]);
  EXPECT_TRUE(stream.ended[2]);
}

INSTANTIATE_TEST_SUITE_P(
    , ShellTexts,
    ::testing::Values(
        Case{"success", "true", 0, ""}, Case{"failure", "false", 1, ""}, Case{"empty", "", 0, ""},
        Case{"comment", "# nothing", 0, ""}, Case{"exit_code", "exit 42", 42, ""},
        Case{"output", "echo a; echo b", 0, "a\nb\n"},
        Case{"streams_apart", "echo o; echo e >&2", 0, "o\n", "e\n"},
        Case{"no_function_of_ours", "declare -F | grep _at_", 1, ""},
        Case{"no_variable_of_ours", "set | grep ^_at_", 1, ""},
        Case{"no_variable_in_the_environment", "env | grep _at_", 1, ""},
        Case{"no_descriptor_of_ours", "cd /proc/self/fd; echo *", 0, "0 1 2 3\n"},
        Case{"name", "echo $0 $#", 0, "bash 0\n"},
        Case{"stdin_is_empty", "read x; echo $?$x", 0, "1\n"},
        Case{"exec", "exec echo replaced", 0, "replaced\n"},
        Case{"exec_of_nothing", "exec /nonexistent", 127, "", "No such file"},
        Case{"exit_trap", "trap 'echo bye' EXIT; exit 3", 3, "bye\n"},
        Case{"return_outside", "return 3; echo on", 0, "on\n", "can only `return'"},
        Case{"break_outside", "break; echo on", 0, "on\n", "only meaningful"},
        Case{"syntax", "if", 2, "", "syntax error"},
        Case{"syntax_later", "echo first\nif", 2, "first\n", "syntax error"},
        Case{"unknown", "nonexistent-command", 127, "", "nonexistent-command: command not found"},
        Case{"line_numbers", "true\nnonexistent-command", 127, "", "line 2"},
        Case{"errexit", "set -e; false; echo no", 1, ""},
        Case{"errexit_spares_conditions", "set -e; if false; then :; fi; echo on", 0, "on\n"},
        Case{"pipefail", "set -euo pipefail; false | true; echo no", 1, ""},
        Case{"nounset", "set -u; echo $nope; echo no", 1, "", "nope: unbound variable"},
        Case{"own_pid", "kill -9 $$; echo no", -9, ""},
        Case{"own_bashpid", "kill -9 $BASHPID; echo no", -9, ""},
        Case{"term", "kill $BASHPID; sleep 10", -15, ""},
        Case{"wait_knows_no_others", "wait; echo done; jobs", 0, "done\n"},
        Case{"job_control_is_off", "echo $-", 0, "hBc\n"},
        Case{"signals_are_default", "grep -E 'Sig(Blk|Ign)' /proc/self/status | cut -f2", 0,
             "0000000000000000\n0000000000000000\n"},
        Case{"directory", "pwd", 0, "/tmp\n"}, Case{"user", "echo $USER $HOME", 0, "root /root\n"},
        Case{"not_our_oom_score", "cat /proc/self/oom_score_adj", 0, "0\n"},
        Case{"quotes", "echo 'it'\\''s'", 0, "it's\n"},
        Case{"heredoc", "cat <<E\na'b\nE", 0, "a'b\n"},
        Case{"bytes", "printf 'a\\0b\\xff' | od -An -c | tr -d ' '", 0, "a\\0b377\n"},
        Case{"latin_one", "echo '\xe4\xf6'", 0, "\xe4\xf6\n"},
        Case{"seconds_start_anew", "echo $SECONDS", 0, "0\n"},
        Case{"locale_is_the_profiles", "echo ${LC_ALL-unset}", 0, "unset\n"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_F(Run, StrictTextsStopAtTheFirstFailure) {
  auto& stream = peer.shell("echo a; false; echo b");
  EXPECT_EQ(stream.code(), 1);
  EXPECT_EQ(stream.out(), "a\n");
  EXPECT_EQ(peer.shell("false | true").code(), 1);
  EXPECT_EQ(peer.shell("echo $nope").code(), 1);
  EXPECT_EQ(peer.shell("").code(), 0);
}

TEST_F(Run, ArgvEndsAsAShellWouldSay) {
  EXPECT_EQ(peer.call(argv({"true"})).code(), 0);
  EXPECT_EQ(peer.call(argv({"false"})).code(), 1);
  EXPECT_EQ(peer.call(argv({"/bin/sh", "-c", "exit 9"})).code(), 9);
  EXPECT_EQ(peer.call(argv({"/bin/sh", "-c", "kill -SEGV $$"})).code(), -SIGSEGV);
  auto& missing = peer.call(argv({"nonexistent-command"}));
  EXPECT_EQ(missing.code(), 127);
  EXPECT_THAT(missing.err(), HasSubstr("nonexistent-command: command not found"));
  EXPECT_TRUE(missing.ended[1] && missing.ended[2]);
  EXPECT_EQ(peer.call(argv({"/etc/passwd"})).code(), 126);
  EXPECT_EQ(peer.call(argv({"/etc"})).code(), 126);
  EXPECT_EQ(peer.call(argv({""})).code(), 127);
  EXPECT_EQ(peer.call(argv({"echo", "a b", "", "c"})).out(), "a b  c\n");
}

TEST_F(Run, HasAnEnvironmentADirectoryAndAUser) {
  EXPECT_EQ(peer.call(argv({"sh", "-c", "echo $X; pwd; echo $USER"}, {{"env", "X=1 2"}})).out(),
            "1 2\n/tmp\nroot\n");
  EXPECT_EQ(peer.call(argv({"pwd"}, {{"cwd", "/etc"}})).out(), "/etc\n");
  EXPECT_EQ(peer.call(text("pwd", {{"cwd", "/etc"}})).out(), "/etc\n");
  EXPECT_THAT(peer.call(argv({"pwd"}, {{"cwd", "/nonexistent"}})).result(""),
              HasSubstr("guest: cannot change to the directory '/nonexistent'"));
  EXPECT_EQ(peer.call(text("echo $X$Y; declare -p X", {{"env", "X=it's"}, {"env", "Y=;"}})).out(),
            "it's;\ndeclare -x X=\"it's\"\n");
  EXPECT_EQ(peer.call(argv({"sh", "-c", "id -un; id -gn; echo $HOME $USER $LOGNAME"},
                           {{"user", "nobody"}}))
                .out(),
            "nobody\nnogroup\n/nonexistent nobody nobody\n");
  EXPECT_EQ(peer.call(text("id -u; id -G", {{"user", "nobody"}})).out(), "65534\n65534\n");
  EXPECT_THAT(peer.call(argv({"true"}, {{"user", "nobody-here"}})).result(""),
              HasSubstr("guest: the guest has no user 'nobody-here'"));
  EXPECT_THAT(peer.call(argv({"env"})).out(), HasSubstr("PATH="));
  EXPECT_EQ(peer.call(argv({"readlink", "/proc/self/fd/0"})).out(), "/dev/null\n");
}

TEST_F(Run, RefusesWhatIsNoCommand) {
  EXPECT_THAT(peer.call({{"op", "run"}}).result(""), StartsWith("error: usage"));
  EXPECT_THAT(peer.call(text("true", {{"argv", "true"}})).result(""), StartsWith("error: usage"));
  EXPECT_THAT(peer.call(text(std::string_view("a\0b", 3))).result(""), HasSubstr("NUL"));
  EXPECT_THAT(peer.call(argv({std::string("a\0b", 3)})).result(""), HasSubstr("NUL"));
  EXPECT_THAT(peer.call(argv({"true"}, {{"env", "X"}})).result(""), HasSubstr("NAME=value"));
  EXPECT_THAT(peer.call(argv({"true"}, {{"pty", "big"}})).result(""), HasSubstr("ROWSxCOLUMNS"));
}

TEST_F(Run, LongArgumentsAndTexts) {
  const std::string big(200'000, 'x');
  EXPECT_EQ(peer.call(text("x='" + big + "'; echo ${#x}")).out(), "200000\n");
  EXPECT_EQ(peer.call(text("x='" + big + "'; echo ${#x} $0 $$")).code(), 0);
  EXPECT_EQ(peer.call(text("x='" + big + "'; echo ${#x}; id -u", {{"user", "nobody"}})).out(),
            "200000\n65534\n");
  // The kernel's limit for one argument, which a shell meets in the same way.
  auto& argument = peer.call(argv({"echo", big}));
  EXPECT_EQ(argument.code(), 126);
  EXPECT_THAT(argument.err(), HasSubstr("Argument list too long"));
  AgentFields many{{"op", "run"}, {"argv", "sh"}, {"argv", "-c"}, {"argv", "echo $#"}};
  for (int i = 0; i < 2000; ++i) many.add("argv", std::string(100, 'y'));
  EXPECT_EQ(peer.call(many).out(), "1999\n");
}

TEST_F(Run, OutputComesWhileItRuns) {
  auto stream = peer.open(text("echo now; read x; echo $x", {{"stdin", "1"}}));
  peer.until([&] { return peer[stream].out() == "now\n"; });
  EXPECT_FALSE(peer[stream].over());
  peer.data(stream, "later\n");
  EXPECT_EQ(peer.wait(stream).out(), "now\nlater\n");
}

TEST_F(Run, InputStreamsWithBackPressure) {
  for (auto fields : {argv({"sha256sum"}, {{"stdin", "1"}}), text("sha256sum", {{"stdin", "1"}})}) {
    auto stream = peer.open(fields);
    std::string block(1 << 20, '\0');
    for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<char>(i * 7 / 3);
    for (int i = 0; i < 32; ++i) peer.data(stream, block);
    peer.end(stream);
    EXPECT_EQ(peer.wait(stream).code(), 0);
    EXPECT_EQ(peer[stream].out().size(), 68u);
    EXPECT_LT(agent.process().peak_rss_kib(), 8000);
  }
}

TEST_F(Run, InputThatNobodyReadsBlocksOnlyItsStream) {
  auto stream = peer.open(argv({"sleep", "100"}, {{"stdin", "1"}}));
  peer.data(stream, std::string(1 << 20, 'x'));  // the whole window
  EXPECT_EQ(peer.shell("echo on").out(), "on\n");
  peer.cancel(stream);
  EXPECT_EQ(peer.wait(stream).code(), -SIGTERM);
}

TEST_F(Run, InputIsThrownAwayWhenItsReaderIsGone) {
  auto stream = peer.open(text("exec <&-; echo closed; sleep 0.3", {{"stdin", "1"}}));
  peer.until([&] { return peer[stream].out() == "closed\n"; });
  peer.data(stream, std::string(3 << 20, 'x'));
  peer.end(stream);
  EXPECT_EQ(peer.wait(stream).code(), 0);
}

TEST_F(Run, TimesOutWithTheWholeGroup) {
  auto stream = peer.open(text("(trap '' TERM; echo $BASHPID; exec sleep 1000) & wait; echo no",
                               {{"timeout_ms", "300"}, {"grace_ms", "300"}}));
  auto& result = peer.wait(stream);
  EXPECT_EQ(result.code(), -SIGTERM);
  EXPECT_EQ(result.result("timed_out"), "1");
  EXPECT_FALSE(alive(std::atoi(result.out().c_str()))) << "a child that ignores SIGTERM is left";
}

TEST_F(Run, KillsWhatIgnoresTheTimeout) {
  auto& result = peer.call(text("trap '' TERM; while :; do sleep 0.05; done",
                                {{"timeout_ms", "200"}, {"grace_ms", "200"}}));
  EXPECT_EQ(result.code(), -SIGKILL);
  EXPECT_EQ(result.result("timed_out"), "1");
  auto& argument = peer.call(argv({"sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.05; done"},
                                  {{"timeout_ms", "200"}}));
  EXPECT_EQ(argument.code(), 5);
  EXPECT_EQ(argument.result("timed_out"), "1");
}

TEST_F(Run, ATimeoutThatIsNotReachedSaysNothing) {
  auto& result = peer.call(text("true", {{"timeout_ms", "60000"}}));
  EXPECT_EQ(result.code(), 0);
  EXPECT_FALSE(result.done->has("timed_out"));
}

TEST_F(Run, CancelEndsIt) {
  auto stream = peer.open(text("sleep 1000"));
  const auto pid = pid_of(stream);
  EXPECT_TRUE(alive(pid));
  peer.cancel(stream);
  auto& result = peer.wait(stream);
  EXPECT_EQ(result.code(), -SIGTERM);
  EXPECT_FALSE(result.done->has("timed_out"));
  EXPECT_FALSE(alive(pid));
}

TEST_F(Run, TakesSignals) {
  for (auto fields :
       {text("trap 'echo got; exit 7' USR1; echo ready; while :; do sleep 0.02; done"),
        argv({"bash", "-c",
              "trap 'echo got; exit 7' USR1; echo ready; while :; do sleep 0.02; "
              "done"})}) {
    auto stream = peer.open(fields);
    peer.until([&] { return peer[stream].out() == "ready\n"; });
    peer.event(stream, AgentFields().add("signal", SIGUSR1));
    EXPECT_EQ(peer.wait(stream).code(), 7);
    EXPECT_EQ(peer[stream].out(), "ready\ngot\n");
  }
}

TEST_F(Run, AChildThatKeepsTheOutputIsNotWaitedFor) {
  base::TempDir dir;
  const auto fifo = dir.path() / "go";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  auto& result = peer.call(text("echo here; (trap '' PIPE; read -r go <" + fifo.string() +
                                "; echo more || exit 9; sleep 1000) & echo $!"));
  EXPECT_EQ(result.code(), 0);
  const auto child = std::atoi(result.out().c_str() + 5);
  std::ofstream(fifo) << "go\n";  // only now may it print more
  peer.listen(300ms);
  EXPECT_TRUE(alive(child)) << "its output was closed";
  kill(child, SIGKILL);
}

TEST_F(Run, AllOfTheOutputComesBeforeTheEnd) {
  auto& big = peer.call(text("head -c 3000000 /dev/zero; head -c 100000 /dev/zero >&2"));
  EXPECT_EQ(big.out().size(), 3'000'000u);
  EXPECT_EQ(big.err().size(), 100'000u);
  auto& left = peer.call(text("head -c 60000 /dev/zero; sleep 5 & exit 0"));
  EXPECT_EQ(left.out().size(), 60'000u);
}

TEST_F(Run, TwentySleepsTakeTheTimeOfOne) {
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::uint32_t> streams;
  for (int i = 0; i < 20; ++i)
    streams.push_back(peer.open(text("sleep 1; echo " + std::to_string(i))));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(peer.wait(streams[i]).out(), std::to_string(i) + "\n");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
}

TEST_F(Run, TwoHundredShellsAtOnce) {
  std::vector<std::uint32_t> streams;
  for (int i = 0; i < 200; ++i)
    streams.push_back(
        peer.open(text("sleep 0.2; echo " + std::to_string(i) + "; exit " + std::to_string(i))));
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(peer.wait(streams[i]).code(), i);
    EXPECT_EQ(peer[streams[i]].out(), std::to_string(i) + "\n");
  }
}

TEST_F(Run, ATerminalHasASizeAndChangesIt) {
  auto stream =
      peer.open(text("trap 'stty size; exit' WINCH; stty size; tty; while :; do sleep 0.02; done",
                     {{"pty", "33x101"}}));
  peer.until([&] { return peer[stream].out().find("/dev/pts/") != Bytes::npos; });
  EXPECT_THAT(peer[stream].out(), StartsWith("33 101\r\n"));
  peer.settle();
  peer.event(stream, {{"rows", "40"}, {"columns", "90"}});
  EXPECT_EQ(peer.wait(stream).code(), 0);
  EXPECT_THAT(peer[stream].out(), HasSubstr("40 90\r\n"));
  EXPECT_TRUE(peer[stream].ended[2]);
}

TEST_F(Run, ATerminalTakesInputAndItsEnd) {
  auto stream = peer.open(argv({"cat"}, {{"pty", "24x80"}, {"stdin", "1"}}));
  peer.data(stream, "hello\n");
  peer.end(stream);
  EXPECT_EQ(peer.wait(stream).code(), 0);
  EXPECT_EQ(peer[stream].out(), "hello\r\nhello\r\n");
  EXPECT_EQ(peer.call(argv({"head", "-c", "200000", "/dev/zero"}, {{"pty", "24x80"}})).out().size(),
            200'000u);
}

// The agent's child that leads a session and is no command.
pid_t resident_shell(pid_t agent, int tries = 500) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const auto stat = base::try_read_file(entry.path() / "stat");
    const auto end = stat ? stat->rfind(") ") : Bytes::npos;
    if (end == Bytes::npos) continue;
    const auto words = base::split(stat->substr(end + 2), ' ');  // state ppid pgrp session
    if (words[0] != "Z" && words[1] == std::to_string(agent) && words[3] == entry.path().filename())
      return std::atoi(words[3].c_str());
  }
  if (tries == 0) throw std::runtime_error("the agent has no shell");
  std::this_thread::sleep_for(10ms);  // it starts another one
  return resident_shell(agent, tries - 1);
}

TEST_F(Run, ARestartedShellServesOn) {
  EXPECT_EQ(peer.shell("echo 1").out(), "1\n");
  for (int i = 0; i < 3; ++i) {
    kill(resident_shell(agent.process().pid()), SIGKILL);
    for (int j = 0; j < 12; ++j) {
      ASSERT_EQ(peer.shell("echo 2").out(), "2\n");
    }
  }
}

TEST_F(Run, LeavesNoDescriptorsAndNoZombies) {
  for (int i = 0; i < 10; ++i) peer.shell("true");
  peer.settle();
  const auto before = agent.process().descriptors();
  for (int i = 0; i < 100; ++i) {
    peer.shell("(sleep 0 &) ; true");
    peer.call(argv({"true"}));
    peer.call(argv({"true"}, {{"pty", "1x1"}}));
    peer.call(argv({"nonexistent"}));
  }
  peer.settle();
  EXPECT_LT(agent.process().descriptors(), before + 60);
  peer.listen(100ms);
  EXPECT_EQ(peer.shell("ps -o stat= --ppid " + std::to_string(agent.process().pid()) +
                       " | grep -c Z || true")
                .out(),
            "0\n");
}

}  // namespace
}  // namespace attest::agent_test
