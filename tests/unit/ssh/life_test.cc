// How a connection ends, and what comes after.
#include "unit/ssh/bed.h"

#include <csignal>
#include <future>

namespace attest::ssh {
namespace {

class SshLife : public SshMachine {
 protected:
  // Its failure's text, and how long that took.
  std::future<std::pair<std::string, Clock::duration>> run_until_lost(const std::string& text) {
    return std::async(std::launch::async, [this, text] {
      auto error = error_of([&] { run_for(text, 60s); });
      return std::pair{error, Clock::now().time_since_epoch()};
    });
  }
};

TEST_F(SshLife, ARunningCommandFailsAtOnceWhenItsSshdIsKilled) {
  Sshd sshd(loop, {});
  boot(sshd.config());
  run("rm -f /run/begun; mkfifo /run/begun");
  auto failed = run_until_lost("echo begun >/run/begun; sleep 60");
  base::read_file("/run/begun");  // returns when the command runs
  auto killed = Clock::now();
  sshd.signal_sessions(SIGKILL);
  auto [error, when] = failed.get();
  EXPECT_LT(when - killed.time_since_epoch(), 30s);
  auto end = gone();
  EXPECT_FALSE(end.orderly);
  EXPECT_THAT(end.cause, HasSubstr("the connection to root@127.0.0.1:22 was lost: "));
  boot_again();
  EXPECT_EQ(run("echo back"), "back\n");
}

TEST_F(SshLife, AFrozenConnectionIsFoundOutAndNamed) {
  Sshd sshd(loop, {});
  auto config = sshd.config();
  config.keepalive = 1s;
  boot(config);
  sshd.signal_sessions(SIGSTOP);
  auto start = Clock::now();
  auto end = gone();
  EXPECT_GT(Clock::now() - start, 1s);
  EXPECT_LT(Clock::now() - start, 30s);
  EXPECT_FALSE(end.orderly);
  EXPECT_THAT(end.cause, HasSubstr("no sign of life for 3"));
  boot_again();
  EXPECT_EQ(run("echo back"), "back\n");
}

TEST_F(SshLife, ASilentCommandOutlivesTheKeepalive) {
  Sshd sshd(loop, {});
  auto config = sshd.config();
  config.keepalive = 1s;
  boot(config);
  EXPECT_EQ(run("sleep 5; echo done"), "done\n");
}

TEST_F(SshLife, ShutdownOnlyLeavesAHostThatIsNotOurs) {
  Sshd sshd(loop, {});
  boot(sshd.config());
  EXPECT_EQ(backend->power_control(), PowerControl::nobody);
  run("(sleep 61 >/dev/null 2>&1 &)");
  loop.run(backend->shutdown(Deadline::after(10s)));
  EXPECT_TRUE(gone().orderly);
  EXPECT_THAT(said, HasSubstr("root@127.0.0.1:22 stays up"));
  boot_again();
  EXPECT_EQ(run("echo back"), "back\n");
  context.config.ssh.allow_power = true;
  boot_again();
  EXPECT_EQ(backend->power_control(), PowerControl::guest);
}

TEST_F(SshLife, KillEndsItAtOnceAlsoWhileItConnects) {
  Sshd sshd(loop, {});
  boot(sshd.config());
  backend->name();
  loop.run([](Backend* one) -> Task<void> {
    one->kill();
    one->kill();
    co_return;
  }(backend.get()));
  EXPECT_FALSE(gone().orderly);
  boot_again();
  EXPECT_EQ(run("echo back"), "back\n");

  context.config.ssh.port = 9;  // nobody listens there
  machine.reset();
  backend = make_ssh(context);
  auto boots = [](Backend* one) -> Task<void> { co_await one->boot(Deadline::after(60s)); };
  auto kills = [](Backend* one, fakes::DirectOutside* out) -> Task<void> {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    const int before = out->connections;
    while (out->connections < before + 2) {
      timer.expires_after(5ms);
      co_await timer.async_wait(asio::use_awaitable);
    }
    one->kill();
  };
  auto killed =
      std::async(std::launch::async, [&] { loop.run(kills(backend.get(), outside.get())); });
  EXPECT_THAT(error_of([&] { loop.run(boots(backend.get())); }), HasSubstr("given up"));
  killed.get();
}

TEST_F(SshLife, AgentsThatAreKilledEndTheMachine) {
  Sshd sshd(loop, {});
  boot(sshd.config());
  error_of([&] { run("kill -9 $PPID"); });
  auto end = gone();
  EXPECT_THAT(end.cause, HasSubstr("attest-agent on root@127.0.0.1:22 was killed by signal KILL"));
}

}  // namespace
}  // namespace attest::ssh
