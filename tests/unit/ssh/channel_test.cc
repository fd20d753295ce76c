// Commands in channels of their own, several at a time.
#include "backends/ssh/channel.h"

#include "backends/ssh/connect.h"
#include "lib/async/all.h"
#include "unit/ssh/bed.h"

namespace attest::ssh {
namespace {

class SshChannel : public SshMachine {
 protected:
  void SetUp() override {
    SshMachine::SetUp();
    if (IsSkipped()) return;
    sshd = std::make_unique<Sshd>(loop, Sshd::Options{});
    Target target{loop.executor(), sshd->config(), outside, {}, {}};
    session = loop.run(connect(target, Deadline::after(10s)));
  }
  void TearDown() override {
    if (session) loop.run(session->disconnect(Deadline::after(10s)));
  }
  Output run(const std::string& command, const std::string& input = {}) {
    return loop.run(finish(session, command, input));
  }
  static Task<Output> finish(std::shared_ptr<Session> session, std::string command,
                             std::string input) {
    auto channel = co_await Channel::exec(session, command);
    co_return co_await async::within(Deadline::after(20s), "the command",
                                     channel->finish(std::move(input)));
  }
  static Task<void> collect(std::shared_ptr<Session> session, std::string command,
                            std::string input, Output* output) {
    *output = co_await finish(session, command, input);
  }

  std::unique_ptr<Sshd> sshd;
  std::shared_ptr<Session> session;
};

TEST_F(SshChannel, TellsHowACommandEnded) {
  EXPECT_EQ(run("exit 7").ending.words(), "exited with code 7");
  EXPECT_EQ(run("true").ending.words(), "exited with code 0");
  EXPECT_EQ(run("kill -TERM $$").ending.words(), "was killed by signal TERM");
}

TEST_F(SshChannel, CarriesBothStreamsAndTheInput) {
  auto output = run("cat; echo err >&2", "in\n");
  EXPECT_EQ(output.out, "in\n");
  EXPECT_EQ(output.err, "err\n");
}

TEST_F(SshChannel, DrainsBothStreamsWhateverComesFirst) {
  auto output = run("head -c 4194304 /dev/zero >&2; head -c 4194304 /dev/zero");
  EXPECT_EQ(output.out.size(), 4U << 20);
  EXPECT_EQ(output.err.size(), 4U << 20);
}

TEST_F(SshChannel, CarriesMuchInputToo) {
  std::string input(8 << 20, 'x');
  input[1234567] = 'y';
  auto output = run("cat", input);
  EXPECT_TRUE(output.out == input);
  EXPECT_EQ(run("true", input).ending.code, 0) << "a command that does not want its input";
}

TEST_F(SshChannel, RunsSeveralAtATime) {
  std::vector<Output> outputs(8);
  std::vector<Task<void>> tasks;
  for (std::size_t i = 0; i < outputs.size(); ++i)
    tasks.push_back(
        collect(session, "sleep 1; head -c 1048576 /dev/zero >&2; cat; exit " + std::to_string(i),
                std::string((i + 1) << 16, char('a' + i)), &outputs[i]));
  auto start = Clock::now();
  for (auto& failure : loop.run(async::all(std::move(tasks)))) EXPECT_FALSE(failure);
  EXPECT_LT(Clock::now() - start, 6s);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    EXPECT_TRUE(outputs[i].out == std::string((i + 1) << 16, char('a' + i))) << i;
    EXPECT_EQ(outputs[i].err.size(), 1U << 20);
    EXPECT_EQ(outputs[i].ending.code, int(i));
  }
}

TEST_F(SshChannel, ThatNobodyReadsStopsOnlyItself) {
  auto idle = loop.run(Channel::exec(session, "cat /dev/zero"));
  auto output = run("head -c 8388608 /dev/zero");
  EXPECT_EQ(output.out.size(), 8U << 20);
  loop.run([](std::shared_ptr<Channel>* one) -> Task<void> {
    one->reset();
    co_return;
  }(&idle));
  EXPECT_EQ(run("echo still").out, "still\n");
}

TEST_F(SshChannel, FailsWhenTheConnectionIsLostBeforeAnEndingCame) {
  auto dying = finish(session, "kill -9 $PPID; sleep 60", "");
  auto error = error_of(Error::Kind::host, [&] { loop.run(std::move(dying)); });
  EXPECT_THAT(error, HasSubstr("the connection to root@127.0.0.1:22 was lost"));
}

TEST_F(SshChannel, SurvivesNewKeysInMidStream) {
  TearDown();
  sshd =
      std::make_unique<Sshd>(loop, Sshd::Options{.address = "127.0.0.6", .more = "RekeyLimit 1M"});
  Target target{loop.executor(), sshd->config(), outside, {}, {}};
  session = loop.run(connect(target, Deadline::after(10s)));
  std::string input(6 << 20, 'x');
  EXPECT_TRUE(run("cat", input).out == input);
}

TEST(ProxyCommand, IsExpanded) {
  SshConfig config;
  config.host = "web";
  config.port = 2222;
  config.proxy_command = "nc %h %p # %r 100%%";
  EXPECT_EQ(expand_proxy(config), "nc web 2222 # root 100%");
  config.proxy_command = "nc %x";
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { expand_proxy(config); }), HasSubstr("'nc %x'"));
}

}  // namespace
}  // namespace attest::ssh
