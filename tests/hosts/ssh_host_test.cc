// Beside a running host (with_hosts): what only SSH has, through the real way out of the sandbox.
#include "error_of.h"
#include "host_page.h"

#include <attest/gtest.h>

#include <string>
#include <thread>

namespace attest {
namespace {
using namespace std::chrono_literals;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

class SshHost : public Test {
 public:
  /// The host as root three times, each a connection of its own, and as an ordinary user.
  Config config() const override {
    auto config = Test::config();
    auto host = config.machines.at("alpha");
    host.ready = Ready::agent;
    config.machines = {{"one", host}, {"two", host}, {"guarded", host}, {"plain", host}};
    config.machines["guarded"].ssh.allow_power = false;
    config.machines["plain"].ssh.user = "plain";
    return config;
  }

 protected:
  Machine& one() { return machine("one"); }
  Machine& two() { return machine("two"); }
  void add_user() {
    two().succeed(R"sh(
      id plain 2>/dev/null || useradd -m -s /bin/bash plain
      install -d -o plain -m 700 ~plain/.ssh
      install -o plain -m 600 ~root/.ssh/authorized_keys ~plain/.ssh/)sh");
  }
};

TEST_F(SshHost, ServesAnOrdinaryUser) {
  add_user();
  auto& plain = machine("plain");
  EXPECT_EQ(plain.succeed("id -un; echo $HOME"), "plain\n/home/plain\n");
  plain.write_file("/home/plain/made", "by plain\n");
  EXPECT_EQ(two().succeed("cat ~plain/made; stat -c %U ~plain/made"), "by plain\nplain\n");
  error_of(Error::Kind::guest, [&] { plain.write_file("/etc/made", ""); });
  EXPECT_EQ(plain.run({"/bin/sh", "-c", "exit 3"}).exit_code, 3);
}

TEST_F(SshHost, ALostConnectionFailsWhatRunsWithTheCauseAndTheNextOneIsMade) {
  one().succeed("rm -f /tmp/runs");
  std::string text;
  std::thread running([&] {
    text = error_of(Error::Kind::guest,
                    [&] { one().succeed("echo $PPID >/tmp/runs; exec sleep 1000"); });
  });
  two().wait_for_file("/tmp/runs");
  // The sshd that serves `one`: the first of that name above the command.
  two().succeed(R"sh(
    pid=$(cat /tmp/runs)
    until [ "$(cat /proc/$pid/comm)" = sshd ]; do pid=$(awk '{print $4}' /proc/$pid/stat); done
    kill -9 $pid)sh");
  running.join();
  EXPECT_THAT(text, AllOf(HasSubstr("'one' is gone"), HasSubstr("the connection to root@")));
  EXPECT_EQ(one().succeed("echo again"), "again\n");
}

TEST_F(SshHost, HasItsPortsForwarded) {
  one().wait_for_open_port(80);
  EXPECT_THAT(fakes::host_page(one().forward_port(0, 80)), HasSubstr("Welcome to nginx"));
}

TEST_F(SshHost, OneThatIsNotOursStaysUp) {
  auto& guarded = machine("guarded");
  auto boot = guarded.read_file("/proc/sys/kernel/random/boot_id");
  auto text = error_of(Error::Kind::unsupported, [&] { guarded.reboot(); });
  EXPECT_THAT(text, HasSubstr("machines.guarded.ssh.allow_power"));
  guarded.shutdown();
  EXPECT_FALSE(guarded.is_up());
  EXPECT_EQ(guarded.read_file("/proc/sys/kernel/random/boot_id"), boot);
}

TEST_F(SshHost, KeepsNothingOfAttest) {
  add_user();
  auto& guarded = machine("guarded");
  guarded.succeed("true");
  machine("plain").succeed("true");
  two().wait_until_succeeds("test $(pgrep -fc -- '[-]-stdio') -ge 3", {.timeout = 30s});
  one().crash();
  guarded.shutdown();
  machine("plain").crash();
  two().wait_until_succeeds("test $(pgrep -fc -- '[-]-stdio') -le 1", {.timeout = 30s});
  EXPECT_EQ(two().succeed("find / -xdev -newer /proc/1 -name '*attest*' "
                          "-not -path '/usr/lib/attest/*' -not -path '/etc/*' 2>/dev/null || true"),
            "");
}

TEST_F(SshHost, WithAnotherKeyThanThePinnedOneIsRefused) {
  auto config = driver().config().machines.at("one");
  config.ssh.fingerprint = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
  auto& impostor = create_machine("impostor", config);
  auto text = error_of(Error::Kind::usage, [&] { impostor.start(); });
  EXPECT_THAT(text, AllOf(HasSubstr("SHA256:AAAAAAA"), HasSubstr("fingerprint")));
}

}  // namespace
}  // namespace attest
