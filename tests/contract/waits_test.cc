// Waits for what happens in the machine and on its console.
#include "contract.h"

#include <thread>

namespace attest {
namespace {
using testing::AllOf;
using testing::HasSubstr;

class Waits : public Contract {};
INSTANTIATE_TEST_SUITE_P(, Waits, ATTEST_CONTRACT_BACKENDS);

TEST_P(Waits, AFileIsWaitedFor) {
  alpha().succeed(
      "rm -rf /tmp/later; (sleep 0.2; mkdir /tmp/later; touch /tmp/later/file.42) "
      ">/dev/null 2>&1 &");
  alpha().wait_for_file("/tmp/later/file.*");
  alpha().wait_for_file("/tmp/later");  // it is there
}

TEST_P(Waits, AFileThatDoesNotComeIsATimeout) {
  for (auto limit : {500ms, 0ms, -5ms}) {
    auto text = error_of(Error::Kind::timeout,
                         [&] { alpha().wait_for_file("/tmp/no-such", {.timeout = limit}); });
    EXPECT_THAT(text, HasSubstr("/tmp/no-such"));
  }
}

TEST_P(Waits, AnEndlessLimitIsObeyedToo) {
  alpha().wait_for_file("/tmp", {.timeout = std::chrono::milliseconds::max()});
}

TEST_P(Waits, APortOpensAndCloses) {
  auto listener = alpha().spawn({.argv = {"nc", "-lk", "127.0.0.1", "4715"}});
  alpha().wait_for_open_port(4715, {.address = "127.0.0.1"});
  listener.kill();
  alpha().wait_for_closed_port(4715, {.address = "127.0.0.1"});
}

TEST_P(Waits, AUdpPortIsBound) {
  auto listener = alpha().spawn({.argv = {"nc", "-lu", "127.0.0.1", "4716"}});
  alpha().wait_for_open_port(4716, {.udp = true});
}

TEST_P(Waits, AUnixSocketAccepts) {
  alpha().succeed("rm -f /tmp/wait.sock");
  auto listener = alpha().spawn({.argv = {"nc", "-lkU", "/tmp/wait.sock"}});
  alpha().wait_for_open_unix_socket("/tmp/wait.sock");
}

TEST_P(Waits, AnIntervalIsKept) {
  alpha().succeed("rm -f /tmp/tries");
  error_of(Error::Kind::timeout, [&] {
    alpha().wait_until_succeeds("echo x >>/tmp/tries; false", {.timeout = 2s, .interval = 800ms});
  });
  auto tries = std::stoi(alpha().succeed("wc -l </tmp/tries"));
  EXPECT_GE(tries, 1);
  EXPECT_LE(tries, 3);
}

TEST_P(Waits, ConsoleTextFromBeforeCounts) {
  alpha().start();
  if (GetParam() == "ssh") {
    auto text =
        error_of(Error::Kind::unsupported, [&] { alpha().wait_for_console_text("anything"); });
    EXPECT_THAT(text, AllOf(HasSubstr("'alpha' (ssh) has no console"), HasSubstr("journal()")));
    return;
  }
  // The loopback machine says this by itself; its /dev/console would be the host's.
  if (GetParam() != "loopback") alpha().succeed("echo 'connecting to host...' >/dev/console");
  EXPECT_THAT(alpha().wait_for_console_text("connecting to \\w+"), HasSubstr("to host..."));
  auto text = error_of(Error::Kind::timeout,
                       [&] { alpha().wait_for_console_text("n[e]ver", {.timeout = 100ms}); });
  EXPECT_THAT(text, HasSubstr("'n[e]ver' on the console"));
}

TEST_P(Waits, EndWithTheMachine) {
  alpha().start();
  std::string text;
  std::thread waiting([&] {
    text = error_of(Error::Kind::guest, [&] {
      alpha().wait_until_succeeds("touch /tmp/waiting; false", {.timeout = 300s});
    });
  });
  alpha().wait_for_file("/tmp/waiting");
  alpha().crash();
  waiting.join();
  EXPECT_THAT(text, HasSubstr("'alpha' is gone"));
}

TEST_P(Waits, OfManyKindsRunAtTheSameTimeFromEightThreads) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      auto n = std::to_string(i);
      alpha().wait_for_file("/tmp");
      alpha().write_file("/tmp/thread" + n, n);
      EXPECT_EQ(alpha().read_file("/tmp/thread" + n), n);
      auto process = alpha().spawn({.argv = {"cat"}});
      process.write(n + "\n");
      EXPECT_EQ(process.read_line(), n);
      EXPECT_EQ(alpha().run({.argv = {"printenv", "N"}, .env = {{"N", n}}}).output, n + "\n");
    });
  for (auto& thread : threads) thread.join();
}

class MoreCommands : public Contract {};
INSTANTIATE_TEST_SUITE_P(, MoreCommands, ATTEST_CONTRACT_BACKENDS);

TEST_P(MoreCommands, OneWithEverythingAboutIt) {
  auto result = alpha().run(
      {.shell = "cat; pwd; echo $A", .env = {{"A", "b"}}, .cwd = "/usr", .input = "from stdin\n"});
  EXPECT_EQ(result.output, "from stdin\n/usr\nb\n");
}

TEST_P(MoreCommands, OneAsAnotherUser) {
  auto result = alpha().run({.argv = {"sh", "-c", "id -un; echo $HOME"}, .user = "nobody"});
  EXPECT_THAT(result.output, HasSubstr("nobody\n"));
}

TEST_P(MoreCommands, ARebootComesBackReady) {
  alpha().succeed("echo x >/tmp/before-reboot");
  alpha().reboot();
  EXPECT_EQ(alpha().succeed("test -e /tmp/before-reboot || echo gone"), "gone\n");
}

}  // namespace
}  // namespace attest
