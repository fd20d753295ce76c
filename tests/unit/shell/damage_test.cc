// A channel that loses what the guest says: the command concerned fails, the next one works.
#include "lib/base/file.h"
#include "lib/base/text.h"
#include "tests/unit/shell/peer.h"

namespace attest::guest {
namespace {

using ::testing::HasSubstr;

const PeerKind bash{"bash_socket", "bash"}, dash{"dash_pty", "dash", true};

class Losses : public ::testing::TestWithParam<PeerKind> {
 protected:
  // Changes the next bytes that hold `needle`, once.
  void spoil_once(std::string needle, std::function<void(std::string&)> change) {
    auto armed = std::make_shared<bool>(true);
    *peer.spoil = [=](std::string& bytes) {
      if (!*armed || bytes.find(needle) == bytes.npos) return;
      *armed = false;
      change(bytes);
    };
  }
  void expect_recovery() {
    for (int i = 0; i < 3; ++i) EXPECT_EQ(peer.sh("echo fine").output, "fine\n");
  }
  Peer peer{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(, Losses, ::testing::Values(bash, dash), peer_name);

TEST_P(Losses, OfOutputAreAProtocolError) {
  spoil_once("needle", [](std::string& bytes) { bytes.erase(bytes.find("needle"), 3); });
  auto error = peer.error_of("echo needle; seq 100");
  EXPECT_EQ(error.kind(), Error::Kind::protocol) << error.what();
  EXPECT_THAT(error.what(), HasSubstr("damaged"));
  EXPECT_THAT(error.what(), HasSubstr("'echo needle; seq 100'"));
  expect_recovery();
}

TEST_P(Losses, InTheMiddleOfMuchOutputAreAProtocolError) {
  auto seen = std::make_shared<std::size_t>(0);
  *peer.spoil = [seen](std::string& bytes) {
    auto before = std::exchange(*seen, *seen + bytes.size());
    if (before < 100'000 && *seen >= 100'000) bytes.clear();  // one chunk is dropped, as hvc0 does
  };
  EXPECT_EQ(peer.error_of("head -c 1000000 /dev/zero").kind(), Error::Kind::protocol);
  expect_recovery();
}

TEST_P(Losses, OfTheEndOfAReplyAreFoundByTheNextCheck) {
  spoil_once("needle", [](std::string& bytes) { bytes.resize(bytes.find("needle") + 3); });
  auto begun = std::chrono::steady_clock::now();
  // The rest of the reply may come in a piece of its own; then only the middle is lost.
  EXPECT_EQ(peer.error_of("echo needle", 60s).kind(), Error::Kind::protocol);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 15s);
  expect_recovery();
}

TEST_P(Losses, OfAWholeReplyEndTheCommandLongBeforeItsDeadline) {
  // From the reply's first byte on everything is lost for a while.
  auto until = std::make_shared<Deadline>(Deadline::never());
  *peer.spoil = [until](std::string& bytes) {
    if (bytes.find("r 0 7 0") != bytes.npos) *until = in(300ms);
    if (until->left() < 1h && !until->passed()) bytes.clear();
  };
  auto begun = std::chrono::steady_clock::now();
  auto error = peer.error_of("echo needle", 120s);
  EXPECT_EQ(error.kind(), Error::Kind::protocol) << error.what();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 40s);
  expect_recovery();
}

TEST_P(Losses, DoNotTouchOtherCommands) {
  spoil_once("needle", [](std::string& bytes) { bytes.erase(bytes.find("needle"), 1); });
  auto both = [](Peer* self) -> Task<std::string> {
    auto loop = co_await asio::this_coro::executor;
    Command slow{.shell = "sleep 0.5; echo slow", .argv = {}},
        lost{.shell = "echo needle", .argv = {}};
    auto other = asio::co_spawn(loop, self->guest->run(slow, in(30s)), asio::use_awaitable);
    try {
      co_await self->guest->run(lost, in(30s));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::protocol);
    }
    co_return (co_await std::move(other)).output;
  };
  EXPECT_EQ(peer.loop.run(both(&peer)), "slow\n");
}

TEST_P(Losses, OfKernelMessagesBetweenRepliesDoNoHarm) {
  *peer.spoil = [](std::string& bytes) {
    auto last = base::last_lines(bytes, 1);
    if (bytes.ends_with("\n") && last.find('}') != last.npos) bytes += "[ 12.3] oops: something\n";
  };
  for (int i = 0; i < 5; ++i) EXPECT_EQ(peer.sh("true").exit_code, 0);
}

TEST(Restart, FailsWhatWasUnderWayAndGreetsAgain) {
  // A bash that comes back with a banner, as from a unit with Restart=always.
  base::TempDir dir("attest-restart-", "/var/tmp");
  auto script = dir.path() / "shell";
  base::write_file(script,
                   "bash --norc\necho 'Spawning backdoor root shell...'\nexec bash --norc\n");
  Peer peer({"restarting", "sh", false, script.string()});
  auto error = peer.error_of("kill -9 $(pgrep -o -f 'bash --norc'); sleep 60");
  EXPECT_EQ(error.kind(), Error::Kind::guest);
  EXPECT_THAT(error.what(), HasSubstr("the guest's shell restarted"));
  EXPECT_EQ(peer.sh("echo fine").output, "fine\n");
}

}  // namespace
}  // namespace attest::guest
