// Waits for units, and the machine's end, against a systemd that a test plays.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>

#include "tests/unit/agent/fake_systemd.h"
#include "tests/unit/agent/peer.h"

namespace attest::agent_test {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using namespace std::chrono_literals;

class AgentUnits : public ::testing::Test {
 protected:
  AgentUnits() {
    std::filesystem::create_directories(run_ + "/systemd/system");
    unit("inactive", "dead");
  }
  void unit(std::string_view active, std::string_view sub) {
    systemd_->set("Id", "x.service");
    systemd_->set("LoadState", "loaded");
    systemd_->set("ActiveState", active);
    systemd_->set("SubState", sub);
    systemd_->set("Job", "0");
    systemd_->set("SystemState", "running");
    systemd_->set("Type", "simple");
    systemd_->set("Result", "success");
    systemd_->set("RemainAfterExit", "0");
    systemd_->set("NRestarts", "0");
  }
  std::uint32_t begin(std::string_view name = "x") {
    return peer_.open({{"op", "wait"}, {"for", "unit"}, {"unit", name}});
  }
  std::uint32_t begin_and_see(std::string_view state) {
    auto wait = begin();
    until_state(wait, state);
    return wait;
  }
  void until_state(std::uint32_t wait, std::string_view state) {
    peer_.until([&] {
      auto& stream = peer_[wait];
      return stream.over() ||
             (!stream.events.empty() && stream.events.back().get("state") == state);
    });
    ASSERT_FALSE(peer_[wait].over()) << peer_[wait].result("");
  }

  base::TempDir directory_{"attest-units-"};
  std::string run_ = directory_.path().string();
  std::optional<FakeSystemd> systemd_{run_};
  Agent agent_{[this] { setenv("ATTEST_AGENT_RUN", run_.c_str(), 1); }};
  Peer peer_ = agent_.connect();
};

TEST_F(AgentUnits, ThatAreActiveAreNotWaitedFor) {
  unit("active", "running");
  EXPECT_EQ(peer_.wait(begin()).result("state"), "active");
  EXPECT_THAT(systemd_->calls(), Contains("LoadUnit x.service"));
}

TEST_F(AgentUnits, HoldAsSoonAsASignalSaysActiveHoweverShortly) {
  unit("activating", "start");
  auto wait = begin_and_see("activating (start)");
  systemd_->tell("active");
  systemd_->tell("failed");
  EXPECT_EQ(peer_.wait(wait).result("state"), "active");
}

TEST_F(AgentUnits, ThatFailAreAnErrorAtOnceWithTheCause) {
  unit("activating", "start");
  auto wait = begin_and_see("activating (start)");
  systemd_->set("Result", "exit-code");
  systemd_->set("ExecMainCode", "1");
  systemd_->set("ExecMainStatus", "3");
  systemd_->set("ExecMainExitTimestamp", "17");
  systemd_->tell("failed");
  EXPECT_EQ(peer_.wait(wait).result(""),
            "error: guest: unit \"x.service\" reached state \"failed\" (result exit-code, exit "
            "status 3)");
}

TEST_F(AgentUnits, ThatAreInactiveWithoutAJobAreReadTwice) {
  EXPECT_EQ(peer_.wait(begin()).result(""),
            "error: guest: unit \"x.service\" is inactive and there are no pending jobs");
  auto calls = systemd_->calls();
  EXPECT_EQ(std::count(calls.begin(), calls.end(), "Get ActiveState"), 2);
}

TEST_F(AgentUnits, WithAJobAreWaitedForAndTheJobsResultIsTold) {
  systemd_->set("Job", "7");
  auto wait = begin_and_see("inactive (dead), job queued");
  systemd_->set("Job", "0");
  systemd_->tell_job_removed("other.service", "done");
  systemd_->tell_job_removed("x.service", "dependency");
  EXPECT_THAT(peer_.wait(wait).result(""), HasSubstr("(its job ended with dependency)"));
}

TEST_F(AgentUnits, OfAGuestThatIsBootingAreWaitedForWithoutAJob) {
  systemd_->set("SystemState", "initializing");
  auto wait = begin_and_see("inactive, the guest is booting");
  // Early in the boot each target that is reached may have pulled it in.
  systemd_->set("ActiveState", "activating");
  systemd_->set("SubState", "start");
  systemd_->tell_job_removed("sysinit.target", "done");
  until_state(wait, "activating (start)");
  systemd_->tell("active");
  EXPECT_EQ(peer_.wait(wait).result("state"), "active");
}

TEST_F(AgentUnits, AreNotReadAgainBecauseReadingLoadedThem) {
  systemd_->set("SystemState", "initializing");
  auto wait = begin_and_see("inactive, the guest is booting");
  auto calls = systemd_->calls().size();
  systemd_->tell_unit_new("x.service");
  systemd_->tell_job_removed("other.service", "done");
  systemd_->tell("activating");
  // The last signal brings along what is told.
  until_state(wait, "activating (dead)");
  EXPECT_EQ(systemd_->calls().size(), calls);
}

TEST_F(AgentUnits, OfAGuestInEmergencyModeAreAnErrorAtOnce) {
  systemd_->set("Job", "7");
  auto wait = begin_and_see("inactive (dead), job queued");
  systemd_->set("SystemState", "maintenance");
  systemd_->tell_job_removed("emergency.target", "done");
  EXPECT_THAT(peer_.wait(wait).result(""), HasSubstr("the guest is in emergency mode"));
}

TEST_F(AgentUnits, OneshotsThatEndWellHoldAlsoIfSystemdForgetsThem) {
  unit("activating", "start");
  systemd_->set("Type", "oneshot");
  systemd_->set("Job", "7");
  auto wait = begin_and_see("activating (start)");
  systemd_->set("Job", "0");
  systemd_->tell("inactive");
  systemd_->set("SystemState", "starting");
  systemd_->tell_job_removed("x.service", "done");
  EXPECT_EQ(peer_.wait(wait).result("state"), "inactive");
}

TEST_F(AgentUnits, ThatRestartAllTheTimeAreReported) {
  unit("activating", "auto-restart");
  systemd_->set("Result", "exit-code");
  systemd_->set("NRestarts", "3");
  auto wait = begin_and_see("activating (auto-restart), restarted 3 times, last result exit-code");
  systemd_->set("NRestarts", "4");
  systemd_->tell("activating");
  until_state(wait, "activating (auto-restart), restarted 4 times, last result exit-code");
  peer_.cancel(wait);
  EXPECT_EQ(peer_.wait(wait).result(""),
            "error: timeout: waiting for unit \"x.service\" was given up; last seen: activating "
            "(auto-restart), restarted 4 times, last result exit-code");
}

TEST_F(AgentUnits, AreWaitedForAcrossADaemonReexec) {
  unit("activating", "start");
  auto wait = begin_and_see("activating (start)");
  systemd_->set("ActiveState", "active");
  systemd_->drop();
  EXPECT_EQ(peer_.wait(wait).result("state"), "active");
}

TEST_F(AgentUnits, AreWaitedForBeforeSystemdIsThere) {
  systemd_.reset();
  std::filesystem::remove_all(run_ + "/systemd/private");
  auto wait = begin();
  peer_.until([&] { return !peer_[wait].events.empty(); });
  EXPECT_THAT(std::string(peer_[wait].events[0].get("state")),
              StartsWith("systemd cannot be reached yet"));
  systemd_.emplace(run_);
  unit("active", "running");
  EXPECT_EQ(peer_.wait(wait).result("state"), "active");
}

TEST_F(AgentUnits, WithBadNamesAreRefused) {
  EXPECT_EQ(peer_.wait(begin("a b")).result(""), "error: usage: 'a b' is no name of a unit");
  EXPECT_EQ(
      peer_.call({{"op", "wait"}, {"for", "unit"}, {"unit", "x"}, {"user", "no such"}}).result(""),
      "error: guest: the guest has no user 'no such'");
  EXPECT_EQ(
      peer_.call({{"op", "wait"}, {"for", "unit"}, {"unit", "x"}, {"state", "fine"}}).result(""),
      "error: usage: 'fine' is no state of a unit");
  systemd_->refuse("org.freedesktop.DBus.Error.InvalidArgs", "Unit name x is not valid.");
  EXPECT_EQ(peer_.wait(begin()).result(""),
            "error: usage: cannot wait for unit \"x.service\": Unit name x is not valid.");
}

TEST_F(AgentUnits, OfAGuestWithoutSystemdAreUnsupported) {
  if (base::try_read_file("/proc/1/comm") == "systemd\n") GTEST_SKIP() << "systemd runs here";
  Agent agent([] { setenv("ATTEST_AGENT_RUN", "/no/such", 1); });
  auto peer = agent.connect();
  EXPECT_EQ(peer.call({{"op", "wait"}, {"for", "unit"}, {"unit", "x"}}).result(""),
            "error: unsupported: cannot wait for unit \"x.service\": the guest does not run "
            "systemd");
}

TEST_F(AgentUnits, AndPowerGoThroughSystemd) {
  EXPECT_TRUE(peer_.call({{"op", "power"}, {"action", "poweroff"}}).done);
  EXPECT_TRUE(peer_.call({{"op", "power"}, {"action", "reboot"}}).done);
  EXPECT_THAT(systemd_->calls(), ElementsAre("PowerOff", "Reboot"));
  EXPECT_THAT(peer_.call({{"op", "power"}, {"action", "explode"}}).result(""),
              HasSubstr("none of poweroff, reboot, halt"));
  systemd_->refuse("x.Busy", "not now");
  EXPECT_EQ(peer_.call({{"op", "power"}, {"action", "reboot"}}).result(""),
            "error: guest: cannot ask systemd to reboot: not now");
}

TEST_F(AgentUnits, AndJobsCanBeWaitedFor) {
  systemd_->set("State", "running");
  auto wait =
      peer_.open({{"op", "wait"}, {"for", "job"}, {"path", "/org/freedesktop/systemd1/job/7"}});
  until_state(wait, "running");
  systemd_->tell_job_removed("x.service", "timeout");
  EXPECT_EQ(peer_.wait(wait).result("result"), "timeout");
}

}  // namespace
}  // namespace attest::agent_test
