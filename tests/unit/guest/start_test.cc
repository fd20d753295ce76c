// The agent is started over a shell that has none; where it cannot be, the shell serves.
#include "lib/base/file.h"
#include "lib/guest/agent_start.h"
#include "lib/guest/booted_guest.h"
#include "tests/unit/shell/peer.h"

namespace attest::guest {
namespace {

using ::testing::HasSubstr;

// A unix socket that is connected to as soon as something listens there: stands in for the port.
class Dialled final : public Stream {
 public:
  Dialled(asio::any_io_executor loop, std::string path)
      : loop_(std::move(loop)), path_(std::move(path)), connected_(loop_) {}
  Task<std::size_t> read_some(std::span<char> buffer) override {
    while (!inner_ && !closed_) {
      try {
        inner_ = async::make_stream(loop_, base::connect_unix(path_));
        connected_.set();
      } catch (const Error&) {  // not yet
      }
      asio::steady_timer timer(loop_, 10ms);
      if (!inner_) co_await timer.async_wait(asio::use_awaitable);
    }
    if (closed_) co_return 0;
    co_return co_await inner_->read_some(buffer);
  }
  Task<void> write_all(std::string_view bytes) override {
    co_await connected_.wait();
    if (!inner_) throw Error(Error::Kind::host, "closed");
    co_await inner_->write_all(bytes);
  }
  void close() noexcept override {
    closed_ = true;
    connected_.set();
    if (inner_) inner_->close();
  }

 private:
  asio::any_io_executor loop_;
  std::string path_;
  async::Event connected_;
  std::unique_ptr<Stream> inner_;
  bool closed_ = false;
};

class Start : public ::testing::Test {
 public:  // for the coroutines of the tests
  ~Start() override {
    peer.loop.run([](Start* self) -> Task<void> {
      self->agent.reset();
      co_return;
    }(this));
  }
  ShellGuest& shell() { return dynamic_cast<ShellGuest&>(*peer.guest); }
  std::string start(AgentStart what) {
    return peer.loop.run([](Start* self, AgentStart one) -> Task<std::string> {
      auto loop = self->peer.loop.executor();
      self->agent =
          std::make_shared<proto::Agent>(loop, std::make_unique<Dialled>(loop, self->socket()));
      co_return co_await start_agent(self->shell(), *self->agent, std::move(one), in(60s));
    }(this, std::move(what)));
  }
  AgentStart unix_start() {
    AgentStart what;
    what.binary = agent_binary();
    what.transport = "--unix " + socket();
    return what;
  }
  std::string socket() const { return (folder.path() / name).string(); }

  std::string name = "port";

  base::TempDir folder{"attest-start-", "/var/tmp"};  // the peer has a /tmp of its own
  Peer peer{{"bash_pty", "bash", true}};
  std::shared_ptr<proto::Agent> agent;
  std::unique_ptr<async::Child> other;
};

TEST_F(Start, CopiesTheAgentOverTheShellInChunks) {
  auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(start(unix_start()), "");
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 20s);
  EXPECT_TRUE(agent->greeted());
  AgentGuest guest(agent);
  auto result = peer.loop.run([](AgentGuest* one) -> Task<CommandResult> {
    Command command{.shell = "echo through the agent", .argv = {}};
    co_return co_await one->run(command, in(20s));
  }(&guest));
  EXPECT_EQ(result.output, "through the agent\n");
  EXPECT_EQ(peer.sh("echo the shell, too").output, "the shell, too\n");
}

TEST_F(Start, UsesWhatIsThereAlready) {
  EXPECT_EQ(start(unix_start()), "");
  auto find =
      "stat -c '%n %Y' /run/attest/attest-agent.* /dev/shm/attest/attest-agent.* 2>/dev/null;:";
  auto first = peer.sh(find).output;
  EXPECT_THAT(first, HasSubstr("/attest-agent."));
  name = "another";
  EXPECT_EQ(start(unix_start()), "");
  EXPECT_EQ(peer.sh(find).output, first);
}

TEST_F(Start, PrefersTheSharedDirectory) {
  base::TempDir shared("attest-shared-", "/var/tmp");
  peer.sh("mkdir -p /tmp/shared; mount --bind " + shared.path().string() + " /tmp/shared");
  auto what = unix_start();
  what.shared_dir = shared.path();
  EXPECT_EQ(start(what), "");
  EXPECT_FALSE(std::filesystem::is_empty(shared.path()));
}

TEST_F(Start, SaysWhyItCannotBe) {
  auto port = unix_start();
  port.transport = "--port org.attest.none";
  EXPECT_EQ(start(port), "the guest sees no virtio port 'org.attest.none'");
  peer.sh(
      "mount -t tmpfs tmpfs /usr/local/sbin; printf '#!/bin/sh\\necho sparc\\n' "
      ">/usr/local/sbin/uname; chmod 755 /usr/local/sbin/uname");
  EXPECT_THAT(start(unix_start()), HasSubstr("the guest is sparc, the agent at hand is for "));
  peer.sh("umount /usr/local/sbin");
  // The shell needs its own part of /run.
  peer.sh(
      "mkdir -p /run/attest; for d in /run/attest /dev/shm /tmp /var/tmp; do "
      "mount -t tmpfs -o noexec tmpfs $d; done");
  EXPECT_THAT(start(unix_start()), HasSubstr("they are mounted noexec"));
  peer.sh("for d in /run/attest /dev/shm /tmp /var/tmp; do mount -o remount,ro $d; done");
  EXPECT_EQ(start(unix_start()), "the guest has no directory that can be written to");
}

TEST_F(Start, GreetFallsBackToTheShellAndSaysSoOnce) {
  auto guest = peer.loop.run([](Start* self) -> Task<std::unique_ptr<Guest>> {
    auto loop = self->peer.loop.executor();
    auto [ours, theirs] = base::stream_pair();
    async::ChildSpec spec;
    spec.argv = loopback::shell_command_line("bash");
    spec.fds.emplace(0, base::Fd(::fcntl(theirs.get(), F_DUPFD_CLOEXEC, 0)));
    spec.fds.emplace(1, std::move(theirs));
    self->other = std::make_unique<async::Child>(loop, std::move(spec));
    Bootstrap bootstrap;
    bootstrap.port = std::make_unique<Dialled>(loop, self->socket());
    co_return co_await greet(async::make_stream(loop, std::move(ours)), std::move(bootstrap),
                             in(30s));
  }(this));
  EXPECT_EQ(guest->take_notice(),
            "attest-agent could not be started in the guest (the guest sees no virtio port "
            "'org.attest.agent.0'): commands go over the shell, slower");
  EXPECT_EQ(guest->take_notice(), "");
  peer.loop.run([](Start* self, std::unique_ptr<Guest> one) -> Task<void> {
    one.reset();
    self->other.reset();
    co_return;
  }(this, std::move(guest)));
}

}  // namespace
}  // namespace attest::guest
