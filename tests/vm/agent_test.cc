// attest-agent in real guests: when it is there, that nobody can tell it from the shell but by the
// clock, mounts by virtiofs, its other transports, and units of a real systemd.
#include "error_of.h"
#include "lib/base/file.h"

#include <attest/gtest.h>

#include <chrono>
#include <filesystem>

namespace attest {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using Clock = std::chrono::steady_clock;

const std::filesystem::path& host_dir() {
  static base::TempDir dir("attest-agent-test-");
  return dir.path();
}

class Agents : public Test {
 public:
  Config config() const override {
    for (auto* name : {"open", "closed"}) {
      std::filesystem::create_directories(host_dir() / name);
      base::write_file(host_dir() / name / "hello", "hello\n");
    }
    Config config;
    auto& agent = config.machines["agent"];
    agent.allow_reboot = true;
    agent.mounts = {{(host_dir() / "open").string(), "/mnt/open", true},
                    {(host_dir() / "closed").string(), "/mnt/closed", false}};
    config.machines["doomed"];
    auto& shell = config.machines["shell"];
    shell.qemu.agent = false;
    shell.mounts = agent.mounts;
    return config;
  }

 protected:
  Machine& agent() { return machine("agent"); }
  // A service in the guest; its text without the [Service] line.
  void service(const std::string& name, const std::string& text) {
    agent().write_file("/run/systemd/system/" + name, "[Service]\n" + text + "\n");
    agent().succeed("systemctl daemon-reload");
  }
};

TEST_F(Agents, GreetBeforeSysinitAndNeedNoShell) {
  auto entered = [&](const std::string& unit) {
    return std::stoull(agent().get_unit_property(unit, "ActiveEnterTimestampMonotonic"));
  };
  EXPECT_LT(entered("attest-agent.service"), entered("sysinit.target"));
  agent().fail("test -e /dev/hvc0");
  agent().require_unit_state("backdoor.service", "inactive");
}

TEST_F(Agents, CannotBeToldFromAShell) {
  start_all();
  for (auto* name : {"agent", "shell"}) {
    SCOPED_TRACE(name);
    auto& one = machine(name);
    EXPECT_EQ(one.succeed("echo $USER $HOME $PWD $DISPLAY"), "root /root /tmp :0.0\n");
    auto result = one.execute("echo out; echo err >&2; exit 3");
    EXPECT_EQ(result.exit_code, 3);
    EXPECT_EQ(result.output, "out\n");
    EXPECT_EQ(result.error_output, "err\n");
    one.wait_for_unit("nginx.service");
    one.wait_for_open_port(80);
    one.write_file("/root/some/file", std::string("\0\xff\n", 3), {.mode = 0750});
    EXPECT_EQ(one.read_file("/root/some/file"), std::string("\0\xff\n", 3));
    EXPECT_EQ(one.succeed("stat -c %a /root/some/file"), "750\n");
    EXPECT_EQ(one.succeed("cat /mnt/open/hello /mnt/closed/hello"), "hello\nhello\n");
  }
}

TEST_F(Agents, SeeDirectoriesOfTheHost) {
  auto& one = agent();
  EXPECT_EQ(one.succeed("grep -c virtiofs /proc/mounts"), "2\n");
  one.succeed("echo new >/mnt/open/new");
  EXPECT_EQ(base::read_file(host_dir() / "open" / "new"), "new\n");
  base::write_file(host_dir() / "open" / "later", "later\n");
  EXPECT_EQ(one.succeed("cat /mnt/open/later"), "later\n");
  one.fail("touch /mnt/closed/x");
  one.execute("mount -o remount,rw /mnt/closed");
  one.fail("touch /mnt/closed/x");
  EXPECT_FALSE(std::filesystem::exists(host_dir() / "closed" / "x"));
}

TEST_F(Agents, ShareADirectoryThatWasPluggedInLater) {
  auto dir = agent().shared_dir();
  base::write_file(dir / "from-host", "x");
  EXPECT_EQ(agent().succeed("cat /tmp/shared/from-host"), "x");
  agent().succeed("echo y >/tmp/shared/from-guest");
  EXPECT_EQ(base::read_file(dir / "from-guest"), "y\n");
}

TEST_F(Agents, AreReachedOverVsock) {
  auto& one = agent();
  one.succeed("modprobe vsock_loopback");
  one.succeed("systemd-run --unit=listening /usr/lib/attest/attest-agent --vsock 1025");
  EXPECT_THAT(one.wait_until_succeeds("socat -T 5 -u VSOCK-CONNECT:1:1025 - | head -n 2"),
              StartsWith("\nATTEST-AGENT/1 machine="));
  one.succeed("systemctl stop listening");
}

TEST_F(Agents, DialOutOverVsockAndAgain) {
  auto& one = agent();
  one.succeed("modprobe vsock_loopback");
  one.succeed("systemd-run --unit=dialling /usr/lib/attest/attest-agent --vsock-dial 1:2025");
  for (int i = 0; i < 2; ++i)
    EXPECT_THAT(one.succeed("timeout 60 socat -T 1 -u VSOCK-LISTEN:2025,reuseaddr -"),
                StartsWith("\nATTEST-AGENT/1 machine="));
  one.succeed("systemctl stop dialling");
}

// ---- units ----

TEST_F(Agents, WaitForAUnitThatStartsLater) {
  service("slow.service", "Type=oneshot\nExecStart=sleep 1\nRemainAfterExit=yes");
  agent().succeed("systemctl start --no-block slow.service");
  agent().wait_for_unit("slow.service");
  EXPECT_EQ(agent().get_unit_property("slow.service", "ActiveState"), "active");
}

TEST_F(Agents, TakeAOneshotThatRanForActive) {
  service("once.service", "Type=oneshot\nExecStart=sleep 0.5");
  agent().succeed("systemctl start --no-block once.service");
  agent().wait_for_unit("once.service");
}

TEST_F(Agents, EndAWaitForAUnitThatFails) {
  service("fails.service", "ExecStart=sh -c 'sleep 0.5; echo the reason; exit 3'\nType=oneshot");
  agent().succeed("systemctl start --no-block fails.service");
  EXPECT_THAT(error_of([&] { agent().wait_for_unit("fails.service"); }),
              AllOf(HasSubstr("fails.service"), HasSubstr("failed"), HasSubstr("the reason")));
}

TEST_F(Agents, ReportARestartLoop) {
  service("loops.service", "ExecStart=false\nRestart=always\nRestartSec=100ms\nType=notify");
  agent().write_file("/run/systemd/system/loops.service.d/no-limit.conf",
                     "[Unit]\nStartLimitIntervalSec=0\n");
  agent().succeed("systemctl daemon-reload; systemctl start --no-block loops.service");
  EXPECT_THAT(error_of([&] { agent().wait_for_unit("loops.service", {.timeout = 4s}); }),
              AllOf(HasSubstr("loops.service"), HasSubstr("restart")));
  agent().succeed("systemctl stop loops.service");
}

TEST_F(Agents, FindATemplateUnitWithEscapes) {
  service(R"(odd\x2dname@.service)", "ExecStart=sleep 1000");
  agent().succeed(R"(systemctl start --no-block 'odd\x2dname@a\x2db.service')");
  agent().wait_for_unit(R"(odd\x2dname@a\x2db.service)");
}

// ---- the end ----

TEST_F(Agents, RebootInPlace) {
  auto& one = agent();
  auto before = one.succeed("cat /proc/sys/kernel/random/boot_id");
  one.reboot();
  EXPECT_NE(one.succeed("cat /proc/sys/kernel/random/boot_id"), before);
  EXPECT_EQ(one.succeed("cat /mnt/open/hello"), "hello\n");
}

TEST_F(Agents, APanicEndsAWaitAtOnce) {
  auto& doomed = machine("doomed");
  doomed.succeed("true");
  doomed.spawn({.shell = "sleep 1; date +at=%s.%N >/dev/ttyS0; echo c >/proc/sysrq-trigger"})
      .detach();
  std::string text = error_of([&] { doomed.wait_for_file("/tmp/never"); });
  double ended =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  EXPECT_THAT(text, HasSubstr("panic"));
  auto log = doomed.get_console_log();
  auto clock = log.rfind("at=1");
  ASSERT_NE(clock, log.npos) << log;
  double seconds = ended - std::stod(log.substr(clock + 3));
  std::printf("measured: panic_ends_a_wait_s %.2f\n", seconds);
  EXPECT_LT(seconds, 60) << "the wait itself may take 15 minutes";
}

TEST_F(Agents, PowerOffInOrder) {
  agent().start();
  agent().shutdown();
  EXPECT_THAT(agent().get_console_log(), HasSubstr("Power down"));
}

}  // namespace
}  // namespace attest
