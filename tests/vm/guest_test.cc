// What only a real kernel and a real systemd can show, on the default guest under QEMU.
#include "error_of.h"

#include <attest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

namespace attest {
namespace {
using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

// The host's pid of a machine's QEMU, found by the -name that attest gives it.
pid_t qemu_of(const std::string& machine) {
  for (auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::string pid = entry.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file("/proc/" + pid + "/cmdline", std::ios::binary);
    std::string words((std::istreambuf_iterator<char>(file)), {});
    if (words.find("qemu-system") == 0 &&
        words.find(std::string("-name") + '\0' + machine + '\0') != std::string::npos)
      return std::stoi(pid);
    if (words.find("qemu-system") != std::string::npos &&
        words.find(std::string("-name") + '\0' + machine) != std::string::npos)
      return std::stoi(pid);
  }
  ADD_FAILURE() << "no QEMU runs for '" << machine << "'";
  return -1;
}

class Guests : public Test {
 public:
  Config config() const override {
    Config config;
    config.machines["left"].vlans = {1};
    config.machines["middle"].vlans = {1, 2};
    config.machines["right"].vlans = {2};
    config.machines["right"].ready = Ready::multi_user;
    return config;
  }
};

TEST_F(Guests, FindEachOtherByNameOnSeveralVlans) {
  start_all();
  machine("left").succeed("ping -c 1 -W 5 middle");
  machine("right").succeed("ping -c 1 -W 5 middle");
  machine("middle").succeed({"ping -c 1 -W 5 left", "ping -c 1 -W 5 right"});
  EXPECT_THAT(machine("middle").succeed("ip -o -4 addr"),
              AllOf(HasSubstr("192.168.1.2/24"), HasSubstr("192.168.2.2/24")));
  EXPECT_NE(machine("left").execute("ping -c 1 -W 1 192.168.2.3").exit_code, 0)
      << "VLANs must be apart";
}

TEST_F(Guests, SpeakIpv6) { machine("left").succeed("ping -6 -c 1 -W 5 2001:db8:1::2"); }

TEST_F(Guests, HaveTheirNames) { EXPECT_EQ(machine("left").succeed("hostname"), "left\n"); }

TEST_F(Guests, HaveDifferentMachineIds) {
  EXPECT_NE(machine("left").succeed("cat /etc/machine-id"),
            machine("right").succeed("cat /etc/machine-id"));
}

TEST_F(Guests, AreReadyAsConfigured) {
  EXPECT_EQ(machine("right").succeed("systemctl is-active multi-user.target"), "active\n");
}

TEST_F(Guests, AFailedUnitEndsTheWaitAtOnceWithItsJournal) {
  // A oneshot: a simple service would be active for a moment, which the wait would see.
  auto& left = machine("left");
  left.succeed(R"(
    cat >/run/systemd/system/broken.service <<EOF
    [Service]
    Type=oneshot
    ExecStart=sh -c 'echo the reason is here; exit 3'
    EOF
    systemctl daemon-reload
    systemctl start --no-block broken.service
  )");
  auto started = Clock::now();
  auto text = error_of([&] { left.wait_for_unit("broken.service"); });
  EXPECT_LT(Clock::now() - started, 60s);
  EXPECT_THAT(text, AllOf(HasSubstr("broken.service"), HasSubstr("failed"),
                          HasSubstr("the reason is here"), HasSubstr("failed units")));
}

TEST_F(Guests, AnInactiveUnitWithoutAJobEndsTheWait) {
  auto text = error_of([&] { machine("left").wait_for_unit("ssh.service"); });
  EXPECT_THAT(text, AllOf(HasSubstr("ssh.service"), HasSubstr("inactive")));
}

TEST_F(Guests, AnUnknownUnitEndsTheWait) {
  EXPECT_THAT(error_of([&] { machine("left").wait_for_unit("no-such.service"); }),
              HasSubstr("no-such.service"));
}

TEST_F(Guests, AUnitNameWithEscapesIsFound) {
  machine("left").succeed(R"(systemd-run --unit='odd\x2dname@1.service' --remain-after-exit true)");
  machine("left").wait_for_unit(R"(odd\x2dname@1.service)");
}

TEST_F(Guests, APanicEndsACommandAtOnceWithTheConsole) {
  auto& left = machine("left");
  left.start();
  auto started = Clock::now();
  auto text = error_of([&] { left.execute("echo c >/proc/sysrq-trigger; sleep 1000"); });
  EXPECT_LT(Clock::now() - started, 60s);
  EXPECT_THAT(text, AllOf(HasSubstr("kernel panicked"), HasSubstr("sysrq")));
  machine("middle").succeed("true");
  EXPECT_EQ(left.succeed("echo back"), "back\n");
}

TEST_F(Guests, AKilledQemuEndsACommandAtOnceWithItsSignal) {
  auto& left = machine("left");
  left.start();
  std::string text;
  std::thread running(
      [&] { text = error_of([&] { left.execute("echo >/tmp/running; sleep 1000"); }); });
  left.wait_until_succeeds("test -e /tmp/running");
  auto killed = Clock::now();
  ::kill(qemu_of("left"), SIGKILL);
  running.join();
  EXPECT_LT(Clock::now() - killed, 60s);
  EXPECT_THAT(text, AllOf(HasSubstr("'left' is gone"), HasSubstr("signal 9")));
}

TEST_F(Guests, AStoppedQemuIsATimeoutAndRecovers) {
  auto& middle = machine("middle");
  middle.start();
  pid_t qemu = qemu_of("middle");
  ::kill(qemu, SIGSTOP);
  error_of([&] { middle.execute("true", {.timeout = 2s}); });
  ::kill(qemu, SIGCONT);
  EXPECT_EQ(middle.succeed("echo recovered"), "recovered\n");
}

TEST_F(Guests, PowerThemselvesOff) {
  auto& right = machine("right");
  right.succeed("systemctl poweroff --no-block");
  right.wait_for_shutdown();
  EXPECT_FALSE(right.is_up());
}

TEST_F(Guests, ShutDownInOrder) {
  auto& right = machine("right");
  right.start();
  right.shutdown();
  EXPECT_THAT(right.get_console_log(), HasSubstr("Power down"));
}

TEST_F(Guests, KeepTheHostAliveThroughAConsoleFlood) {
  auto& middle = machine("middle");
  middle.succeed("head -c 4000000 /dev/zero | tr '\\0' x >/dev/console", {.timeout = 300s});
  EXPECT_EQ(middle.succeed("echo fine"), "fine\n");
  EXPECT_LT(middle.get_console_log().size(), 2u << 20);
}

class Troubled : public Test {
 public:
  Config config() const override {
    Config config;
    config.machines["emergency"].cmdline = "systemd.unit=emergency.target";
    config.machines["rootless"].cmdline = "root=/dev/nothing attest.root=/dev/nothing";
    config.machines["micro"].qemu.machine = "microvm";
    config.machines["filled"].files = {
        {.from = "/etc/debian_version", .to = "/etc/from-host", .mode = "0600"}};
    return config;
  }
};

TEST_F(Troubled, AnEmergencyShellFailsTheBootAtOnce) {
  auto text = error_of([&] { machine("emergency").start(); });
  EXPECT_THAT(text, AllOf(HasSubstr("emergency mode"), HasSubstr("console, last lines")));
}

TEST_F(Troubled, AMissingRootFailsTheBootWithTheReason) {
  auto text = error_of([&] { machine("rootless").start(); });
  EXPECT_THAT(text, AllOf(HasSubstr("initrd gave up"), HasSubstr("/dev/nothing")));
}

TEST_F(Troubled, AMicrovmBoots) { EXPECT_EQ(machine("micro").succeed("hostname"), "micro\n"); }

TEST_F(Troubled, FilesOfTheConfigAreThere) {
  EXPECT_EQ(machine("filled").succeed("stat -c %a /etc/from-host"), "600\n");
  EXPECT_FALSE(machine("filled").succeed("cat /etc/from-host").empty());
}

}  // namespace
}  // namespace attest
