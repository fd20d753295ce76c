// What every guest does, whatever carries it: one table for attest-agent and for shells.
#include "tests/unit/guest/every_guest.h"
#include "lib/guest/commands.h"
#include "lib/guest/files.h"
#include "lib/guest/ports.h"
#include "lib/guest/units.h"

namespace attest::guest {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Kind = Error::Kind;

INSTANTIATE_TEST_SUITE_P(, EveryGuest, ::testing::ValuesIn(every_guest), peer_name);

TEST_P(EveryGuest, ReturnsBothStreamsAndTheCode) {
  auto result = peer.sh("echo out; echo err >&2; exit 7");
  EXPECT_EQ(result.exit_code, 7);
  EXPECT_EQ(result.output, "out\n");
  EXPECT_EQ(result.error_output, "err\n");
}

TEST_P(EveryGuest, ReportsEveryKindOfEnd) {
  struct Row {
    const char* text;
    int code;
  };
  for (auto [text, code] : {Row{"true", 0},
                            {"exit 255", 255},
                            {"kill -9 $$", 137},
                            {"exec sh -c 'kill $$'", 143},
                            {"no-such-program", 127},
                            {"/etc/passwd", 126},
                            {"", 0}})
    EXPECT_EQ(peer.sh(text).exit_code, code) << text;
}

TEST_P(EveryGuest, RunsProgramsWithoutAShell) {
  EXPECT_EQ(peer.run({.shell = "", .argv = {"printf", "%s|", "$HOME", "a b", "", "*"}}).output,
            "$HOME|a b||*|");
  EXPECT_EQ(peer.run({.shell = "", .argv = {"no-such-program"}}).exit_code, 127);
  EXPECT_EQ(peer.run({.shell = "", .argv = {"/etc/passwd"}}).exit_code, 126);
}

TEST_P(EveryGuest, IsStrictUnlessToldOtherwise) {
  EXPECT_EQ(peer.sh("false; echo on").output, "");
  EXPECT_EQ(peer.run({.shell = "false; echo on", .argv = {}, .strict = false}).output, "on\n");
}

TEST_P(EveryGuest, TakesEnvironmentDirectoryUserAndInput) {
  Command command{.shell = "echo \"$A\"; pwd; id -un; cat; echo $HOME", .argv = {}};
  command.env = {{"A", "b 'c'\n$d"}};
  command.cwd = "/usr/lib";
  command.input = std::string("in\0put\n", 7);
  EXPECT_EQ(peer.run(command).output,
            std::string("b 'c'\n$d\n/usr/lib\nroot\nin\0put\n/root\n", 36));
  command.user = "nobody";
  auto result = peer.run(command);
  EXPECT_THAT(result.output, StartsWith("b 'c'\n$d\n/usr/lib\nnobody\n")) << result.error_output;
}

TEST_P(EveryGuest, FeedsInputOfAnySize) {
  Command command{.shell = "wc -c", .argv = {}};
  command.input = std::string(3 << 20, 'x');
  EXPECT_EQ(peer.run(command).output, std::to_string(3 << 20) + "\n");
  command.shell = "head -c 1";  // leaves the rest
  EXPECT_EQ(peer.run(command).output, "x");
}

TEST_P(EveryGuest, HasAnEmptyInputByDefault) {
  EXPECT_EQ(peer.sh("cat; echo end").output, "end\n");
}

TEST_P(EveryGuest, RefusesWhatIsNoCommand) {
  for (auto& command : {Command{.shell = "x", .argv = {"y"}}, Command{.shell = "", .argv = {""}},
                        Command{.shell = std::string("a\0b", 3), .argv = {}},
                        Command{.shell = "x", .argv = {}, .user = "a b"}})
    EXPECT_EQ(peer.error_in(peer.guest->run(command, in(5s))).kind(), Kind::usage);
}

TEST_P(EveryGuest, EndsACommandAtItsDeadline) {
  auto error = peer.error_of("echo $$ >/tmp/pid; echo out; echo err >&2; sleep 60", 700ms);
  EXPECT_EQ(error.kind(), Kind::timeout);
  EXPECT_THAT(error.what(),
              AllOf(StartsWith("command 'echo $$ >/tmp/pid; echo out; echo err >&2; sleep 60' did "
                               "not end within 700 ms\n"),
                    HasSubstr("its stdout so far, last lines:\n"), HasSubstr("| out"),
                    HasSubstr("its stderr so far, last lines:\n"), HasSubstr("| err")));
  EXPECT_EQ(peer.sh("test -d /proc/$(cat /tmp/pid)").exit_code, 1);
}

TEST_P(EveryGuest, RefusesMoreOutputThanTheLimit) {
  auto error = peer.error_of("head -c 70000000 /dev/zero");
  EXPECT_EQ(error.kind(), Kind::guest);
  EXPECT_EQ(std::string(error.what()),
            "command 'head -c 70000000 /dev/zero' printed more than 64 MiB\n"
            "  hint: redirect its output into a file in the guest");
  EXPECT_EQ(peer.sh("echo fine").output, "fine\n");
}

TEST_P(EveryGuest, DoesNotWaitForChildrenThatKeepTheOutput) {
  auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(peer.sh("(sleep 20; echo late) & echo now").output, "now\n");
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s);
}

TEST_P(EveryGuest, TakesRandomBytes) {
  peer.loop.run(peer.guest->reseed(std::string("\0\n'%\\\xff", 6), in(5s)));
  EXPECT_EQ(peer.sh("echo fine").output, "fine\n");
}

TEST_P(EveryGuest, WaitsForFiles) {
  peer.sh("mkdir /tmp/d; (sleep 0.3; touch \"/tmp/d/a'b c.log\") &");
  peer.loop.run(wait_for_file(*peer.guest, "/tmp/d/a'b*.log", in(20s)));
  peer.loop.run(wait_for_file(*peer.guest, "/tmp/d/a'b c.log", in(20s)));
  auto error = peer.error_in(wait_for_file(*peer.guest, "/tmp/d/none", in(1s)));
  EXPECT_EQ(error.kind(), Kind::timeout);
  EXPECT_THAT(error.what(), StartsWith("waited 1 s for file '/tmp/d/none' to exist; last state: "));
  EXPECT_EQ(peer.error_in(wait_for_file(*peer.guest, "none", in(1s))).kind(), Kind::usage);
}

constexpr const char* python_server = R"(
import socket, sys, time
family, kind, where, delay = sys.argv[1:5]
time.sleep(float(delay))
made = socket.socket(getattr(socket, family), getattr(socket, kind))
if family != "AF_UNIX": made.setsockopt(1, 2, 1)
made.bind(where if family == "AF_UNIX" else ("127.0.0.1", int(where)))
if kind == "SOCK_STREAM": made.listen()
time.sleep(30)
)";

std::string server(const std::string& words) {
  return "exec python3 -c '" + std::string(python_server) + "' " + words + " >/dev/null 2>&1 &";
}

bool no_sockets(const PeerKind& kind, Peer& peer) {
  return kind.shell == std::string("dash") && peer.sh("command -v nc").exit_code != 0;
}

TEST_P(EveryGuest, WaitsForPorts) {
  if (no_sockets(GetParam(), peer)) GTEST_SKIP() << "neither bash nor nc";
  peer.sh(server("AF_INET SOCK_STREAM 8123 0.3"));
  peer.loop.run(wait_for_open_port(*peer.guest, 8123, {}, in(20s)));
  auto open = peer.error_in(wait_for_closed_port(*peer.guest, 8123, {}, in(1s)));
  EXPECT_EQ(open.kind(), Kind::timeout);
  EXPECT_THAT(open.what(), StartsWith("waited 1 s for port 8123 of localhost to be closed; last "));
  auto closed = peer.error_in(wait_for_open_port(*peer.guest, 8124, {}, in(1s)));
  EXPECT_THAT(closed.what(), AllOf(StartsWith("waited 1 s for port 8124 of localhost to be open;"),
                                   ::testing::AnyOf(HasSubstr("onnection refused"),
                                                    HasSubstr("nobody accepts on it"))));
  peer.loop.run(wait_for_closed_port(*peer.guest, 8124, {}, in(20s)));
  EXPECT_EQ(peer.error_in(wait_for_open_port(*peer.guest, 0, {}, in(1s))).kind(), Kind::usage);
}

TEST_P(EveryGuest, WaitsForUdpPorts) {
  PortOptions udp;
  udp.udp = true;
  peer.sh(server("AF_INET SOCK_DGRAM 8125 0.3"));
  peer.loop.run(wait_for_open_port(*peer.guest, 8125, udp, in(20s)));
  EXPECT_THAT(peer.error_in(wait_for_open_port(*peer.guest, 8126, udp, in(1s))).what(),
              StartsWith("waited 1 s for UDP port 8126 to be open; last state: "));
  peer.loop.run(wait_for_closed_port(*peer.guest, 8126, udp, in(20s)));
}

TEST_P(EveryGuest, WaitsForUnixSockets) {
  peer.sh(server("AF_UNIX SOCK_STREAM /tmp/s 0.3") + server("AF_UNIX SOCK_DGRAM /tmp/g 0.3"));
  SocketOptions datagram;
  datagram.is_datagram = true;
  peer.loop.run(wait_for_open_unix_socket(*peer.guest, "/tmp/s", {}, in(20s)));
  peer.loop.run(wait_for_open_unix_socket(*peer.guest, "/tmp/g", datagram, in(20s)));
  auto error = peer.error_in(wait_for_open_unix_socket(*peer.guest, "/tmp/n", {}, in(1s)));
  EXPECT_THAT(error.what(),
              StartsWith("waited 1 s for unix socket '/tmp/n' to accept connections;"));
}

TEST_P(EveryGuest, SaysThatThereIsNoSystemd) {
  auto error = peer.error_in(wait_for_unit(*peer.guest, "x.service", {}, in(5s)));
  EXPECT_EQ(error.kind(), Kind::unsupported) << error.what();
  EXPECT_THAT(error.what(), HasSubstr("cannot wait for unit 'x.service' to become active: "));
  EXPECT_EQ(peer.error_in(wait_for_unit(*peer.guest, "a b", {}, in(5s))).kind(), Kind::usage);
}

TEST_P(EveryGuest, RepeatsACommandUntilItSucceeds) {
  peer.sh("(sleep 0.3; touch /tmp/there) &");
  std::string text = "printf 'a\\0b\\n'; echo x >&2; test -e /tmp/there";
  EXPECT_EQ(peer.loop.run(wait_until_succeeds(*peer.guest, text, in(20s), 10ms)),
            std::string("a\0b\n", 4));
  auto error = peer.error_in(wait_until_succeeds(*peer.guest, "echo out; exit 7", in(1s), 300ms));
  EXPECT_EQ(error.kind(), Kind::timeout);
  EXPECT_THAT(error.what(),
              AllOf(HasSubstr("attempts, the last one exited with code 7"), HasSubstr("| out")));
  EXPECT_THAT(peer.error_in(wait_until_succeeds(*peer.guest, "sleep 60", in(3s))).what(),
              HasSubstr("1 attempt, the last one still ran and was ended"));
}

}  // namespace
}  // namespace attest::guest
