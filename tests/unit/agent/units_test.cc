// What systemd's properties mean to somebody who waits for a unit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guest/agent/unit_state.h"

namespace attest::agent {
namespace {

using What = UnitVerdict::What;

struct Case {
  const char* name;
  UnitFacts facts;
  What what;
  const char* text = "";
  const char* system = "running";
  const char* wanted = "active";
  const char* unit = "x.service";
};
class UnitState : public ::testing::TestWithParam<Case> {};

TEST_P(UnitState, DecidesAWait) {
  auto& row = GetParam();
  auto verdict = judge(row.unit, row.wanted, row.facts, row.system);
  EXPECT_EQ(verdict.what, row.what) << verdict.text;
  EXPECT_EQ(verdict.text, row.text);
}

UnitFacts facts(std::string active, std::string sub = "", bool job = false) {
  UnitFacts made;
  made.active = active;
  made.sub = sub.empty() ? active : sub;
  made.load = "loaded";
  made.job = job;
  return made;
}
UnitFacts with(UnitFacts made, std::string UnitFacts::* member, std::string value) {
  made.*member = value;
  return made;
}
UnitFacts oneshot(std::string result = "success", std::string remains = "0") {
  auto made = facts("inactive", "dead");
  made.type = "oneshot";
  made.remains = remains;
  made.result = result;
  made.exited_at = made.inactive_at = "1700000000000000";
  made.exit_code = "1";
  made.exit_status = "0";
  return made;
}
UnitFacts failed() {
  auto made = facts("failed");
  made.result = "exit-code";
  made.exit_code = "1";
  made.exit_status = "3";
  made.exited_at = "1700000000000000";
  return made;
}
UnitFacts killed() {
  auto made = failed();
  made.result = "signal";
  made.exit_code = "2";
  made.exit_status = "9";
  return made;
}
UnitFacts restarting() {
  auto made = facts("activating", "auto-restart", true);
  made.restarts = "3";
  made.result = "exit-code";
  return made;
}
UnitFacts unmet() {
  auto made = facts("inactive", "dead");
  made.condition = "0";
  made.condition_at = "1700000000000000";
  return made;
}
UnitFacts forgotten_oneshot() {
  auto made = facts("inactive", "dead");
  made.type = "oneshot";
  made.remains = "0";
  made.ran_meanwhile = true;
  return made;
}
UnitFacts never_run_oneshot() {
  auto made = forgotten_oneshot();
  made.ran_meanwhile = false;
  made.result = "success";
  made.exited_at = made.inactive_at = "0";
  return made;
}

const char* const idle = "unit \"x.service\" is inactive and there are no pending jobs";

INSTANTIATE_TEST_SUITE_P(
    , UnitState,
    ::testing::Values(
        Case{"active", facts("active", "running"), What::holds},
        Case{"reloading", facts("reloading"), What::holds},
        Case{"refreshing", facts("refreshing"), What::holds},
        Case{"active_although_its_file_is_gone",
             with(facts("active"), &UnitFacts::load, "not-found"), What::holds},
        Case{"activating", facts("activating", "start-pre"), What::goes_on,
             "activating (start-pre)"},
        Case{"deactivating", facts("deactivating", "stop-sigterm"), What::goes_on,
             "deactivating (stop-sigterm)"},
        Case{"restart_loop", restarting(), What::goes_on,
             "activating (auto-restart), restarted 3 times, last result exit-code"},
        Case{"failed", failed(), What::lost,
             "unit \"x.service\" reached state \"failed\" (result exit-code, exit status 3)"},
        Case{"killed", killed(), What::lost,
             "unit \"x.service\" reached state \"failed\" (result signal, killed by signal 9)"},
        Case{"failed_target", facts("failed"), What::lost,
             "unit \"x.service\" reached state \"failed\""},
        Case{"failed_but_about_to_start", facts("failed", "failed", true), What::goes_on,
             "failed, job queued"},
        Case{"inactive_with_a_job", facts("inactive", "dead", true), What::goes_on,
             "inactive (dead), job queued"},
        Case{"inactive", facts("inactive", "dead"), What::look_again, idle},
        Case{"inactive_while_booting", facts("inactive", "dead"), What::goes_on,
             "inactive, the guest is booting", "initializing"},
        Case{"inactive_after_basic_target", facts("inactive", "dead"), What::look_again, idle,
             "starting"},
        Case{"conditions_not_met", unmet(), What::look_again,
             "unit \"x.service\" is inactive and there are no pending jobs (its conditions were "
             "not met)"},
        Case{"dependency_failed",
             with(facts("inactive", "dead"), &UnitFacts::job_result, "dependency"),
             What::look_again,
             "unit \"x.service\" is inactive and there are no pending jobs (its job ended with "
             "dependency)"},
        Case{"not_found", with(facts("inactive"), &UnitFacts::load, "not-found"), What::lost,
             "unit \"x.service\" does not exist"},
        Case{"masked", with(facts("inactive"), &UnitFacts::load, "masked"), What::lost,
             "unit \"x.service\" is masked"},
        Case{"bad_file", with(facts("inactive"), &UnitFacts::load, "bad-setting"), What::lost,
             "unit \"x.service\" cannot be loaded: its state is \"bad-setting\""},
        Case{"oneshot_that_ran", oneshot(), What::holds},
        Case{"oneshot_that_ran_meanwhile_and_was_forgotten", forgotten_oneshot(), What::holds},
        Case{"oneshot_that_never_ran", never_run_oneshot(), What::look_again, idle},
        Case{"oneshot_that_remains_and_was_stopped", oneshot("success", "1"), What::look_again,
             "unit \"x.service\" is inactive and there are no pending jobs (exit status 0)"},
        Case{"emergency", facts("inactive", "dead", true), What::lost,
             "unit \"multi-user.target\" is inactive: the guest is in emergency mode",
             "maintenance", "active", "multi-user.target"},
        Case{"emergency_itself", facts("inactive", "dead", true), What::goes_on,
             "inactive (dead), job queued", "maintenance", "active", "emergency.target"},
        Case{"something_started_in_emergency_mode", facts("activating", "start"), What::goes_on,
             "activating (start)", "maintenance"},
        Case{"wanted_inactive", facts("inactive", "dead"), What::holds, "", "running", "inactive"},
        Case{"wanted_inactive_not_yet", facts("active", "running"), What::goes_on,
             "active (running)", "running", "inactive"},
        Case{"wanted_failed", failed(), What::holds, "", "running", "failed"}),
    [](const auto& row) { return row.param.name; });

TEST(UnitName, IsWhatSystemctlMakesOfIt) {
  EXPECT_EQ(unit_name("nginx"), "nginx.service");
  EXPECT_EQ(unit_name("nginx.service"), "nginx.service");
  EXPECT_EQ(unit_name("multi-user.target"), "multi-user.target");
  EXPECT_EQ(unit_name("getty@tty1"), "getty@tty1.service");
  EXPECT_EQ(unit_name("dev-disk-by\\x2dlabel-x.device"), "dev-disk-by\\x2dlabel-x.device");
  EXPECT_EQ(unit_name("org.example.Thing"), "org.example.Thing.service");
  for (auto bad : {"", "a b", "../x", "x*.service", "a/b", "x@.service", "@x.service", "\xff"})
    EXPECT_EQ(unit_name(bad), "") << bad;
  EXPECT_EQ(unit_name(std::string(300, 'x')), "");
}

TEST(UnitType, HasAnInterfaceOfItsOwn) {
  EXPECT_EQ(type_interface("x.service"), "org.freedesktop.systemd1.Service");
  EXPECT_EQ(type_interface("x.socket"), "org.freedesktop.systemd1.Socket");
  EXPECT_EQ(type_interface("x.target"), "");
}

}  // namespace
}  // namespace attest::agent
