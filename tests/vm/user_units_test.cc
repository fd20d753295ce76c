// The units of a user's own systemd, over the agent and over a shell: calls, waits and their ends.
#include "error_of.h"

#include <attest/gtest.h>

#include <chrono>
#include <thread>

namespace attest {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

class UserUnits : public Test {
 public:
  Config config() const override {
    Config config;
    config.machines["agent"].vlans.clear();
    config.machines["shell"].vlans.clear();
    config.machines["shell"].qemu.agent = false;
    return config;
  }

 protected:
  static void SetUpTestSuite() { prepared_ = false; }
  // Both machines, with alice, whose manager runs without her being logged in, and with bob, whose
  // does not.
  void each(const std::function<void(Machine&)>& body) {
    start_all();
    if (!std::exchange(prepared_, true))
      for (auto* one : driver().machines()) prepare(*one);
    for (auto* one : driver().machines()) {
      SCOPED_TRACE(one->name());
      body(*one);
    }
  }
  static void prepare(Machine& one) {
    // As libpam-systemd would do it, which the image does not have.
    one.write_file("/run/systemd/system/user@.service.d/runtime.conf",
                   "[Service]\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n");
    one.succeed("useradd -m alice; useradd -m bob; systemctl daemon-reload");
    one.succeed("loginctl enable-linger alice");
    one.wait_for_unit("user@1000.service");
  }
  // A service of alice's; its text without the [Service] line.
  static void service(Machine& one, const std::string& name, const std::string& text) {
    one.write_file("/home/alice/.config/systemd/user/" + name, "[Service]\n" + text + "\n");
    one.succeed("chown -R alice: /home/alice/.config");
    EXPECT_EQ(one.systemctl("daemon-reload", alice).exit_code, 0);
  }

  inline static const UnitOptions alice{.user = "alice"};

 private:
  inline static bool prepared_ = false;
};

TEST_F(UserUnits, AreStartedStoppedAndAskedAbout) {
  each([](Machine& one) {
    service(one, "mine.service", "ExecStart=sh -c 'id -un >~/ran; exec sleep 1000'");
    EXPECT_EQ(one.start_job("mine.service", alice).exit_code, 0);
    one.wait_for_unit("mine.service", alice);
    one.wait_until_succeeds("grep -qx alice /home/alice/ran");
    auto info = one.get_unit_info("mine.service", alice);
    EXPECT_EQ(info["ActiveState"], "active");
    EXPECT_EQ(info["FragmentPath"], "/home/alice/.config/systemd/user/mine.service");
    EXPECT_EQ(one.get_unit_property("mine.service", "SubState", alice), "running");
    one.require_unit_state("mine.service", "active", alice);
    EXPECT_EQ(one.get_unit_info("mine.service")["LoadState"], "not-found") << "it is not root's";
    EXPECT_EQ(one.stop_job("mine.service", alice).exit_code, 0);
    EXPECT_THAT(error_of(Error::Kind::guest,
                         [&] { one.require_unit_state("mine.service", "active", alice); }),
                AllOf(HasSubstr("'mine.service' of user 'alice'"), HasSubstr("'inactive'")));
  });
}

TEST_F(UserUnits, AreWaitedFor) {
  each([](Machine& one) {
    service(one, "slow.service", "Type=oneshot\nExecStart=sleep 1\nRemainAfterExit=yes");
    EXPECT_EQ(one.systemctl("start --no-block slow.service", alice).exit_code, 0);
    one.wait_for_unit("slow.service", alice);
    one.require_unit_state("slow.service", "active", alice);
  });
}

TEST_F(UserUnits, EndAWaitThatCannotComeTrue) {
  each([](Machine& one) {
    service(one, "fails.service",
            "Type=oneshot\nExecStart=sh -c 'sleep 0.5; echo the reason; exit 3'");
    EXPECT_EQ(one.systemctl("start --no-block fails.service", alice).exit_code, 0);
    EXPECT_THAT(error_of(Error::Kind::guest, [&] { one.wait_for_unit("fails.service", alice); }),
                AllOf(HasSubstr("fails.service"), HasSubstr("failed"), HasSubstr("the reason")));
    EXPECT_THAT(error_of(Error::Kind::guest, [&] { one.wait_for_unit("no-such.service", alice); }),
                HasSubstr("no-such.service"));
  });
}

TEST_F(UserUnits, NeedAManagerThatRuns) {
  each([](Machine& one) {
    EXPECT_THAT(
        error_of(Error::Kind::timeout,
                 [&] { one.wait_for_unit("default.target", {.user = "bob", .timeout = 2s}); }),
        AllOf(HasSubstr("default.target"), HasSubstr("bob")));
    EXPECT_NE(one.systemctl("is-system-running", {.user = "bob"}).exit_code, 0);
    EXPECT_THAT(
        error_of(Error::Kind::guest, [&] { one.get_unit_info("default.target", {.user = "bob"}); }),
        AllOf(HasSubstr("bob"), HasSubstr("connect")));
  });
}

TEST_F(UserUnits, AreWaitedForFromBeforeTheirManagerRuns) {
  each([](Machine& one) {
    std::thread later([&] { one.succeed("sleep 1; systemctl start user@1001.service"); });
    one.wait_for_unit("default.target", {.user = "bob"});
    later.join();
    one.succeed("systemctl stop user@1001.service");
  });
}

TEST_F(UserUnits, OfNobodyAreAnError) {
  each([](Machine& one) {
    EXPECT_THAT(error_of(Error::Kind::guest,
                         [&] { one.wait_for_unit("x.service", {.user = "nobody-at-all"}); }),
                HasSubstr("nobody-at-all"));
    EXPECT_THAT(error_of(Error::Kind::guest,
                         [&] { one.get_unit_info("x.service", {.user = "nobody-at-all"}); }),
                HasSubstr("nobody-at-all"));
  });
}

}  // namespace
}  // namespace attest
