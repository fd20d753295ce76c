// Deadlines, cancellation, many commands at once, output without end.
#include "tests/unit/shell/peer.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

namespace attest::guest {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const PeerKind bash{"bash_socket", "bash"}, bash_pty{"bash_pty", "bash", true},
    dash{"dash_pty", "dash", true}, busybox{"busybox", "busybox sh"};

class Limits : public ::testing::TestWithParam<PeerKind> {
 protected:
  // Whether no process with these words in its command line is left, or will be soon: SIGKILL takes
  // effect when the victim is next scheduled.
  bool gone(std::string mark) {
    mark = "[" + mark.substr(0, 1) + "]" + mark.substr(1);
    return peer.sh("n=0; while pgrep -f '" + mark +
                   "' >/dev/null; do n=$((n+1)); [ $n -lt 30 ]; sleep 0.1; done")
               .exit_code == 0;
  }
  Peer peer{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(, Limits, ::testing::Values(bash, bash_pty, dash, busybox), peer_name);

TEST_P(Limits, EndACommandAtItsDeadlineWithTheOutputSoFar) {
  auto error = peer.error_of("echo begun; echo oops >&2; sleep 12345", 500ms);
  EXPECT_EQ(error.kind(), Error::Kind::timeout);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("did not end within"), HasSubstr("'echo begun;"),
                                  HasSubstr("| begun"), HasSubstr("| oops")));
  EXPECT_EQ(peer.sh("echo fine").output, "fine\n");
  EXPECT_TRUE(gone("sleep 12345"));
}

TEST_P(Limits, KillACommandThatIgnoresSigterm) {
  auto error = peer.error_of("trap '' TERM; echo begun; sleep 12346; sleep 12346", 300ms);
  EXPECT_EQ(error.kind(), Error::Kind::timeout);
  EXPECT_THAT(error.what(), HasSubstr("| begun"));
  EXPECT_EQ(peer.sh("echo fine").output, "fine\n");
  EXPECT_TRUE(gone("sleep 12346"));
}

TEST_P(Limits, EndACommandThatHasStoppedItself) {
  auto error = peer.error_of("sh -c 'kill -STOP $PPID'; sleep 12347", 500ms);
  EXPECT_EQ(error.kind(), Error::Kind::timeout);
  EXPECT_EQ(peer.sh("echo fine").output, "fine\n");
}

TEST_P(Limits, KillWhatIsLeftOfItsGroup) {
  peer.error_of("(trap '' TERM; sleep 12348; sleep 12348) & sleep 12348", 300ms);
  EXPECT_EQ(peer.sh("sleep 2.5; echo fine").output, "fine\n");
  EXPECT_TRUE(gone("sleep 12348"));
}

Task<void> many(Guest* guest, int count, std::string text) {
  auto loop = co_await asio::this_coro::executor;
  async::Event done(loop);
  int left = count;
  std::vector<std::string> wrong;
  auto one = [](Guest* machine, std::string script, int number, int* open,
                std::vector<std::string>* bad, async::Event* end) -> Task<void> {
    Command command{.shell = script + "; echo " + std::to_string(number), .argv = {}};
    try {
      auto result = co_await machine->run(command, in(60s));
      if (result.output != std::to_string(number) + "\n") bad->push_back(result.output);
    } catch (const std::exception& error) {
      bad->push_back(error.what());
    }
    if (--*open == 0) end->set();
  };
  for (int i = 0; i < count; ++i)
    asio::co_spawn(loop, one(guest, text, i, &left, &wrong, &done), [](std::exception_ptr) {});
  co_await done.wait();
  EXPECT_THAT(wrong, ::testing::IsEmpty());
}

TEST_P(Limits, RunTwentyCommandsAtTheSameTime) {
  auto begun = std::chrono::steady_clock::now();
  peer.loop.run(many(peer.guest.get(), 20, "sleep 1"));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s);  // one after the other: 20 s
}

TEST_P(Limits, MakeMoreCommandsThanSlotsWait) { peer.loop.run(many(peer.guest.get(), 50, "true")); }

TEST_P(Limits, RefuseMoreThan64MiB) {
  auto begun = std::chrono::steady_clock::now();
  auto error = peer.error_of("head -c 2G /dev/zero || head -c 2147483648 /dev/zero", 60s);
  EXPECT_EQ(error.kind(), Error::Kind::guest);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("more than 64 MiB"), HasSubstr("into a file")));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 40s);
  EXPECT_EQ(peer.sh("head -c 40000000 /dev/zero | tr '\\0' x").output.size(), 40'000'000u);
}

TEST(Limits2, SurviveAChildThatFillsTheSpaceForEver) {
  Peer peer;
  // head ends with the error; the child holds the full file open after its removal.
  auto error = peer.error_of(
      "(head -c 80000000 /dev/zero; sleep 60) & sleep 1; wait -n || :; sleep 0.5", 30s);
  EXPECT_EQ(error.kind(), Error::Kind::guest) << error.what();
  EXPECT_EQ(peer.sh("head -c 1000000 /dev/zero").output.size(), 1'000'000u);
}

TEST_P(Limits, EndACancelledCommandInTheGuestAndStayInStep) {
  auto cancelled = [](Peer* self) -> Task<bool> {
    auto loop = co_await asio::this_coro::executor;
    asio::cancellation_signal signal;
    async::Event ended(loop);
    bool threw = false;
    Command command{.shell = "echo x; sleep 12349", .argv = {}};
    asio::co_spawn(
        loop, self->guest->run(command, in(60s)),
        asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr error, CommandResult) {
          threw = error != nullptr;
          ended.set();
        }));
    asio::steady_timer timer(loop, 300ms);
    co_await timer.async_wait(asio::use_awaitable);
    signal.emit(asio::cancellation_type::terminal);
    co_await ended.wait();
    co_return threw;
  };
  EXPECT_TRUE(peer.loop.run(cancelled(&peer)));
  EXPECT_EQ(peer.sh("echo fine").output, "fine\n");
  EXPECT_EQ(peer.sh("sleep 2.5; echo fine").output, "fine\n");
  EXPECT_TRUE(gone("sleep 12349"));
}

TEST_P(Limits, EndEveryCommandWhenTheStreamEnds) {
  auto error = peer.error_of("kill -9 -1; sleep 60", 20s);
  EXPECT_EQ(error.kind(), Error::Kind::host);
  EXPECT_THAT(error.what(), HasSubstr("the connection to the guest"));
  EXPECT_THAT(peer.error_of("true").what(), HasSubstr("the connection to the guest"));
}

}  // namespace
}  // namespace attest::guest
