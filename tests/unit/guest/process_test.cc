// Commands that run while the caller goes on, on every guest.
#include "lib/guest/commands.h"
#include "tests/unit/guest/every_guest.h"

namespace attest::guest {
namespace {

using ::testing::HasSubstr;
using Kind = Error::Kind;

class EveryProcess : public EveryGuest {
 protected:
  std::unique_ptr<Process> spawn(std::string shell, std::optional<std::string> input = {}) {
    Command command{.shell = std::move(shell), .argv = {}, .input = std::move(input)};
    return peer.loop.run(peer.guest->spawn(command, in(20s)));
  }
  struct All {
    std::string output, error_output;
    int code = -1;
  };
  All rest(Process& process) {
    All all;
    while (auto chunk = peer.loop.run(process.read()))
      (chunk->error_output ? all.error_output : all.output) += chunk->bytes;
    all.code = process.exit_code();
    return all;
  }
  std::string line(Process& process) {
    std::string text;
    while (!text.ends_with('\n')) {
      auto chunk = peer.loop.run(process.read());
      if (!chunk) break;
      text += chunk->bytes;
    }
    return text;
  }
  void gone(const std::string& file) {
    EXPECT_NO_THROW(peer.loop.run(
        wait_until_succeeds(*peer.guest, "! test -d /proc/$(cat " + file + ")", in(15s))));
  }
};
INSTANTIATE_TEST_SUITE_P(, EveryProcess, ::testing::ValuesIn(every_guest), peer_name);

TEST_P(EveryProcess, GivesOutputAndTheCode) {
  auto process = spawn("echo out; echo err >&2; exit 7");
  auto all = rest(*process);
  EXPECT_EQ(all.output, "out\n");
  EXPECT_EQ(all.error_output, "err\n");
  EXPECT_EQ(all.code, 7);
}

TEST_P(EveryProcess, TakesInputAndAnswersMeanwhile) {
  auto process = spawn("while read -r line; do echo \"got $line\"; done; echo end", "first\n");
  EXPECT_EQ(line(*process), "got first\n");
  peer.loop.run(process->write("second\n"));
  EXPECT_EQ(line(*process), "got second\n");
  EXPECT_EQ(peer.sh("echo other").output, "other\n");
  peer.loop.run(process->close_input());
  EXPECT_EQ(rest(*process).output, "end\n");
  EXPECT_EQ(peer.error_in(process->write("x")).kind(), Kind::usage);
}

TEST_P(EveryProcess, TakesMuchInput) {
  auto process = spawn("wc -c");
  peer.loop.run(process->write(std::string(300'000, 'x')));
  peer.loop.run(process->close_input());
  EXPECT_EQ(rest(*process).output, "300000\n");
}

TEST_P(EveryProcess, RefusesInputAfterItsEnd) {
  auto process = spawn("exit 3");
  EXPECT_EQ(rest(*process).code, 3);
  auto error = peer.error_in(process->write("x"));
  EXPECT_EQ(error.kind(), Kind::guest);
  EXPECT_THAT(error.what(), HasSubstr("it has ended and takes no more input"));
}

TEST_P(EveryProcess, GetsSignals) {
  auto process = spawn("trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.1; done");
  EXPECT_EQ(line(*process), "ready\n");
  peer.loop.run(process->signal(10));
  auto all = rest(*process);
  EXPECT_EQ(all.output, "caught\n");
  EXPECT_EQ(all.code, 9);
}

TEST_P(EveryProcess, TellsTheSignalThatEndedIt) {
  auto process = spawn("echo ready; sleep 60");
  EXPECT_EQ(line(*process), "ready\n");
  peer.loop.run(process->signal(9));
  EXPECT_EQ(rest(*process).code, 137);
}

TEST_P(EveryProcess, EndsWithItsHandle) {
  auto process = spawn(
      "sh -c 'echo $$' >/tmp/pid; exec 3>&1; sh -c 'echo $$ >/tmp/pid; echo ready; "
      "sleep 60'");
  EXPECT_EQ(line(*process), "ready\n");
  peer.loop.run([](std::unique_ptr<Process> one) -> Task<void> {
    one.reset();
    co_return;
  }(std::move(process)));
  gone("/tmp/pid");
}

TEST_P(EveryProcess, RunsOnWhenDetached) {
  auto process = spawn("echo ready; sleep 0.5; echo more; touch /tmp/done");
  EXPECT_EQ(line(*process), "ready\n");
  peer.loop.run([](std::unique_ptr<Process> one) -> Task<void> {
    one->detach();
    one.reset();
    co_return;
  }(std::move(process)));
  EXPECT_NO_THROW(peer.loop.run(wait_until_succeeds(*peer.guest, "test -e /tmp/done", in(15s))));
}

TEST_P(EveryProcess, GivesALotInOrder) {
  auto process = spawn("i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done");
  std::string expected;
  for (int i = 0; i < 20000; ++i) expected += std::to_string(i) + "\n";
  EXPECT_EQ(rest(*process).output, expected);
}

}  // namespace
}  // namespace attest::guest
