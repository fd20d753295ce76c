// Guests in trouble that attest has to live with: no memory, no room, clocks that jump.
#include "error_of.h"

#include <attest/gtest.h>

#include <chrono>
#include <thread>

namespace attest {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

class Hardship : public Test {
 public:
  Config config() const override {
    Config config;
    auto& guest = config.machines["guest"];
    guest.memory_mb = 384;
    guest.ready = Ready::multi_user;  // no hardship for what still starts
    return config;
  }

 protected:
  Machine& guest() { return machine("guest"); }
};

TEST_F(Hardship, ACommandThatTakesAllMemoryIsKilledAndNothingElse) {
  auto result = guest().execute("tail /dev/zero", {.timeout = 2min});
  EXPECT_EQ(result.exit_code, 128 + 9) << result.error_output;
  EXPECT_EQ(guest().succeed("echo still there"), "still there\n");
  EXPECT_EQ(guest().succeed("systemctl show -p NRestarts --value attest-agent"), "0\n");
}

TEST_F(Hardship, AFullDiskIsAnErrorThatSaysSoAndLeavesNoHalfFile) {
  guest().succeed("mkdir -p /run/small; mount -t tmpfs -o size=1m small /run/small");
  EXPECT_THAT(error_of(Error::Kind::guest,
                       [&] { guest().write_file("/run/small/file", std::string(2 << 20, 'x')); }),
              HasSubstr("No space left on device"));
  EXPECT_EQ(guest().succeed("ls /run/small"), "");
  guest().succeed("umount /run/small");
}

TEST_F(Hardship, CommandsRunWithNoRoomInRunAndTmp) {
  guest().succeed("mount -t tmpfs -o size=1m full /tmp");
  guest().execute("dd if=/dev/zero of=/run/fill bs=1M; dd if=/dev/zero of=/tmp/fill bs=64k",
                  {.strict = false});
  EXPECT_NE(guest().execute("echo more >/run/more").exit_code, 0);
  EXPECT_EQ(guest().succeed("echo still there"), "still there\n");
  EXPECT_EQ(guest().run({"echo", "still there"}).output, "still there\n");
  guest().wait_for_unit("basic.target");
  guest().succeed("rm /run/fill; cd /; umount /tmp");
}

TEST_F(Hardship, WaitsDoNotCareWhatTimeItIsInTheGuest) {
  auto before = guest().succeed("date +%s");
  for (auto* date : {"1971-01-02", "2106-02-08", "2038-01-20"}) {
    guest().succeed("date -s " + std::string(date) + "; rm -f /run/later");
    guest().succeed("(sleep 0.3; date -s '+90 days'; touch /run/later) >/dev/null 2>&1 &");
    guest().wait_for_file("/run/later", {.timeout = 60s});
    auto started = Clock::now();
    EXPECT_THROW(guest().wait_for_file("/run/never", {.timeout = 1s}), Error);
    EXPECT_LT(Clock::now() - started, 30s) << date;
    EXPECT_GE(Clock::now() - started, 1s) << date;
    EXPECT_THROW(guest().execute("date -s '+90 days'; sleep 100", {.timeout = 1s}), Error);
  }
  guest().succeed("date -s @" + before);
}

TEST_F(Hardship, ALeapDuringEveryKindOfWaitEndsNone) {
  guest().write_file("/run/systemd/system/late.service",
                     "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep 1\n");
  guest().succeed("systemctl daemon-reload");
  std::thread leaper([&] {
    guest().succeed("sleep 0.4; date -s '+90 days'; date -s '-400 days'");
    guest().succeed("(nc -lk 127.0.0.1 4711 & systemctl start late) >/dev/null 2>&1 &");
  });
  guest().systemctl("start --no-block late");
  guest().wait_for_open_port(4711, {.timeout = 60s});
  guest().wait_for_unit("late", {.timeout = 60s});
  leaper.join();
}

}  // namespace
}  // namespace attest
