// Each sentence of DESIGN §1 "Commands", on every shell that a guest may have.
#include "tests/unit/shell/peer.h"

namespace attest::guest {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const PeerKind bash_socket{"bash_socket", "bash"}, bash_pty{"bash_pty", "bash", true},
    dash_pty{"dash_pty", "dash", true}, busybox{"busybox", "busybox sh"};

class EveryShell : public ::testing::TestWithParam<PeerKind> {
 protected:
  Peer peer{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(, EveryShell, ::testing::Values(bash_socket, bash_pty, dash_pty, busybox),
                         peer_name);

TEST_P(EveryShell, ReturnsBothStreamsAndTheExitCode) {
  auto result = peer.sh("echo out; echo err >&2; exit 7");
  EXPECT_EQ(result.exit_code, 7);
  EXPECT_EQ(result.output, "out\n");
  EXPECT_EQ(result.error_output, "err\n");
}

struct CodeRow {
  const char* text;
  int code;
};
TEST_P(EveryShell, ReportsEveryKindOfEnd) {
  for (auto [text, code] : {CodeRow{"true", 0},
                            {"false", 1},
                            {"exit 255", 255},
                            {"kill -9 $$", 137},
                            {"kill $$", 143},
                            {"exec false", 1},
                            {"sh -c 'kill -9 $$'", 137},
                            {"exec no-such-program", 127},
                            {"no-such-program", 127},
                            {"/etc/passwd", 126},
                            {"trap 'exit 9' TERM; kill $$; sleep 5", 9},
                            {"", 0},
                            {"# nothing", 0}})
    EXPECT_EQ(peer.sh(text).exit_code, code) << text;
  EXPECT_EQ(peer.sh("echo fine").output, "fine\n");
}

TEST_P(EveryShell, IsStrictUnlessToldOtherwise) {
  EXPECT_EQ(peer.sh("false; echo on").output, "");
  EXPECT_NE(peer.sh("echo $no_such_variable").exit_code, 0);
  EXPECT_EQ(
      peer.run({.shell = "false; echo on$no_such_variable", .argv = {}, .strict = false}).output,
      "on\n");
  EXPECT_EQ(peer.sh("set +e; false; echo on").output, "on\n");
  EXPECT_EQ(peer.sh("false; echo on").output, "");
}

TEST_P(EveryShell, RunsAsRootInTmpWithTheProfilesEnvironment) {
  auto shown = peer.sh("id -u; echo $HOME; pwd; echo $USER $DISPLAY; echo \"[$PAGER]\"; umask");
  EXPECT_EQ(shown.output, "0\n/root\n/tmp\nroot :0.0\n[]\n0022\n");
  EXPECT_THAT(peer.sh("env").output, Not(HasSubstr("_at_")));
  EXPECT_THAT(peer.sh("env").output, HasSubstr("PATH="));
}

TEST_P(EveryShell, HasNothingOnStdin) {
  EXPECT_EQ(peer.sh("cat; read line || echo end").output, "end\n");
}

TEST_P(EveryShell, HasAProcessGroupOfItsOwn) {
  // Field 5 of stat is the process group; the leader's is its pid.
  auto script =
      "read -r pid name state parent group rest </proc/self/stat; [ $group = $pid ] && echo own";
  EXPECT_EQ(peer.sh(script).output, "own\n");
}

TEST_P(EveryShell, CarriesNoStateToTheNextCommand) {
  peer.sh(
      "cd /; X=1; export Y=2; f() { :; }; umask 077; set -x; trap 'echo trapped' EXIT; alias "
      "ls=false; exec 5>&1");
  EXPECT_EQ(
      peer.sh("pwd; echo ${X-no}${Y-no}; umask; ls /proc/self/fd/5 2>/dev/null || echo closed")
          .output,
      "/tmp\nnono\n0022\nclosed\n");
  EXPECT_NE(peer.sh("f").exit_code, 0);
}

TEST_P(EveryShell, LeavesOnlyTheStandardDescriptorsOpen) {
  EXPECT_EQ(peer.sh("ls /proc/self/fd | tr '\\n' ' '").output, "0 1 2 3 ");  // 3 is ls's own
}

TEST_P(EveryShell, SurvivesFunctionsNamedLikeItsOwn) {
  peer.sh("_at_1() { echo mine; }; _at_say() { :; }; _at_D=/nowhere; _at_N=x");
  EXPECT_EQ(peer.sh("echo fine").output, "fine\n");
}

TEST_P(EveryShell, ReturnsOutputByteForByte) {
  EXPECT_EQ(peer.sh("printf 'no line end'").output, "no line end");
  EXPECT_EQ(peer.sh("printf '\\n\\n'; printf '\\n' >&2").output, "\n\n");
  EXPECT_EQ(peer.sh("printf 'a\\0b\\0'").output, std::string("a\0b\0", 4));
  EXPECT_EQ(peer.sh("printf 'a\\r\\n\\003\\004\\032\\377\\376'").output,
            "a\r\n\003\004\032\377\376");
  std::string all;
  for (int c = 1; c < 256; ++c) all += static_cast<char>(c);
  // Through the command text as well: every byte but NUL.
  EXPECT_EQ(peer.run({.shell = "", .argv = {"printf", "%s", all}}).output, all);
}

TEST_P(EveryShell, RunsArgumentsWithoutAShell) {
  EXPECT_EQ(peer.run({.shell = "", .argv = {"printf", "%s|", "$HOME", "a b", "*", "'", ""}}).output,
            "$HOME|a b|*|'||");
  EXPECT_EQ(peer.run({.shell = "", .argv = {"no-such-program"}}).exit_code, 127);
  EXPECT_EQ(peer.run({.shell = "", .argv = {"sh", "-c", "kill -9 $$"}}).exit_code, 137);
}

TEST_P(EveryShell, PassesTheEnvironmentOfTheConfig) {
  Command command{
      .shell = "printf %s \"$GREETING\"", .argv = {}, .env = {{"GREETING", "it's\na $HOME"}}};
  EXPECT_EQ(peer.run(command).output, "it's\na $HOME");
  EXPECT_EQ(peer.sh("echo ${GREETING-none}").output, "none\n");
}

TEST_P(EveryShell, TakesTextsOfManyLinesAndWithSyntaxErrors) {
  EXPECT_EQ(peer.sh("cat <<end\na\n'\nend\nif true; then\n  echo b\nfi").output, "a\n'\nb\n");
  EXPECT_NE(peer.sh("echo 'unclosed").exit_code, 0);
  EXPECT_NE(peer.sh("if true; then").exit_code, 0);
  EXPECT_NE(peer.sh("); echo out").exit_code, 0);
  EXPECT_EQ(peer.sh("echo fine").output, "fine\n");
}

TEST_P(EveryShell, TakesACommandOf200Kilobytes) {
  std::string data(200'000, 'x');
  EXPECT_EQ(peer.sh("printf %s '" + data + "' | wc -c").output, "200000\n");
}

TEST_P(EveryShell, ReturnsAMebibyteExactly) {
  auto result = peer.sh("head -c 1048576 /dev/zero; head -c 70000 /dev/zero | tr '\\0' y >&2");
  EXPECT_EQ(result.output, std::string(1048576, '\0'));
  EXPECT_EQ(result.error_output, std::string(70000, 'y'));
}

TEST_P(EveryShell, DoesNotWaitForChildrenThatKeepItsOutputOpen) {
  auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(peer.sh("sleep 60 & echo started").output, "started\n");
  EXPECT_EQ(peer.sh("setsid sleep 60 & echo started").output, "started\n");
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 20s);
}

TEST_P(EveryShell, KeepsOutputOfLeftChildrenOutOfLaterCommands) {
  peer.sh("(sleep 0.05; echo late; echo late >&2) & echo first");
  for (int i = 0; i < 10; ++i) {
    auto result = peer.sh("sleep 0.02; echo mine");
    EXPECT_EQ(result.output, "mine\n");
    EXPECT_EQ(result.error_output, "");
  }
}

TEST_P(EveryShell, SurvivesACommandThatClosesItsStreams) {
  EXPECT_EQ(peer.sh("exec 1>&- 2>&-; exit 3").exit_code, 3);
  EXPECT_EQ(peer.sh("echo fine").output, "fine\n");
}

class Bash : public ::testing::TestWithParam<PeerKind> {
 protected:
  Peer peer{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(, Bash, ::testing::Values(bash_socket, bash_pty), peer_name);

TEST_P(Bash, FailsWithAnyStageOfAPipe) { EXPECT_EQ(peer.sh("false | true").exit_code, 1); }

TEST_P(Bash, ShowsNothingOfItsOwnInTheCommand) {
  EXPECT_THAT(peer.sh("set; declare -F; trap -p").output, Not(HasSubstr("_at_")));
  EXPECT_EQ(peer.sh("echo $# ${LC_ALL-unset} $0").output, "0 unset bash\n");
}

TEST_P(Bash, GivesEachCommandItsOwnPid) {
  EXPECT_EQ(peer.sh("[ $$ = $BASHPID ] && echo same").output, "same\n");
}

TEST_P(Bash, SurvivesTheEndOfAnExecutor) {
  // The parent of the command is the subshell that waits for it.
  auto error = peer.error_of("read -r a b c p d </proc/self/stat; kill -9 $p; sleep 60", 30s);
  EXPECT_EQ(error.kind(), Error::Kind::guest) << error.what();
  EXPECT_EQ(peer.sh("echo fine").output, "fine\n");
}

TEST_P(Bash, DoesNotIgnoreSigintAndSigquit) {
  EXPECT_EQ(peer.sh("grep SigIgn /proc/self/status").output, "SigIgn:\t0000000000000000\n");
}

TEST_P(Bash, ForksOnceAndExecutesNothingForASmallCommand) {
  // The newest pid of the namespace: one more for the command, one for each fork beside it.
  auto newest = [&] {
    return std::stoi(peer.sh("read -r a b c d e </proc/loadavg; echo $e").output);
  };
  int first = newest();
  for (int i = 0; i < 10; ++i) peer.sh("true");
  EXPECT_EQ(newest() - first, 11);
}

TEST(Notice, SaysOnceThatThereIsNoBash) {
  Peer bash, dash({"dash", "dash"});
  EXPECT_EQ(bash.guest->take_notice(), "");
  EXPECT_THAT(dash.guest->take_notice(), HasSubstr("no bash"));
  EXPECT_EQ(dash.guest->take_notice(), "");
}

}  // namespace
}  // namespace attest::guest
