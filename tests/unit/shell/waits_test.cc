// Waits, which poll inside the guest.
#include "attest/config.h"
#include "lib/guest/commands.h"
#include "lib/guest/diagnosis.h"
#include "lib/guest/ports.h"
#include "lib/guest/ready.h"
#include "lib/guest/units.h"
#include "tests/unit/shell/peer.h"

namespace attest::guest {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Kind = Error::Kind;

const PeerKind bash{"bash_pty", "bash", true}, dash{"dash", "dash"};

class Waits : public ::testing::TestWithParam<PeerKind> {
 protected:
  template <class T>
  Error error_of(Task<T> task) {
    try {
      peer.loop.run(std::move(task));
    } catch (const Error& error) {
      return error;
    }
    return Error(Kind::usage, "no error");
  }
  // A systemctl that answers from a file, with systemd's run-time directory.
  void fake_systemd(const std::string& states) {
    peer.sh("mkdir -p /run/systemd/system; mount -t tmpfs tmpfs /usr/local/sbin; printf '%s' '" +
            states +
            "' >/run/states; cat >/usr/local/sbin/systemctl <<'end'\n#!/bin/sh\necho \"$*\" "
            ">>/run/asked\n"
            "case \"$*\" in *list-jobs*) cat /run/jobs 2>/dev/null; exit 0;; esac\n"
            "cat /run/states; [ ! -e /run/next ] || mv /run/next /run/states\nend\nchmod 755 "
            "/usr/local/sbin/systemctl");
  }
  Peer peer{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(, Waits, ::testing::Values(bash, dash), peer_name);

TEST_P(Waits, UntilACommandSucceedsAndReturnThatRunsOutput) {
  peer.sh("(sleep 0.3; touch /tmp/there) &");
  std::string text = "printf 'a\\0b\\n\\n'; test -e /tmp/there";
  EXPECT_EQ(peer.loop.run(wait_until_succeeds(*peer.guest, text, in(20s))),
            std::string("a\0b\n\n", 5));
}

TEST_P(Waits, UntilACommandFails) {
  peer.sh("touch /tmp/there; (sleep 0.3; rm /tmp/there) &");
  EXPECT_EQ(peer.loop.run(wait_until_fails(*peer.guest, "echo x; test -e /tmp/there", in(20s))),
            "x\n");
}

TEST_P(Waits, TellHowOftenACommandWasTried) {
  auto error = error_of(wait_until_succeeds(*peer.guest, "echo out; echo err >&2; exit 7", in(1s)));
  EXPECT_EQ(error.kind(), Kind::timeout);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("waited 1 s for"),
                                  HasSubstr("attempts, the last one exited with code 7"),
                                  HasSubstr("| out"), HasSubstr("| err")));
}

TEST_P(Waits, EndAnAttemptThatHangs) {
  auto begun = std::chrono::steady_clock::now();
  auto error = error_of(wait_until_succeeds(*peer.guest, "echo begun; sleep 60", in(1s)));
  EXPECT_EQ(error.kind(), Kind::timeout);
  EXPECT_THAT(error.what(),
              AllOf(HasSubstr("1 attempt, the last one still ran"), HasSubstr("| begun")));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 30s);
  EXPECT_EQ(peer.sh("echo fine").output, "fine\n");
}

TEST_P(Waits, AreStrictAndCarryNoState) {
  std::string text = "[ -z \"${X-}\" ]; X=1; false; true";
  EXPECT_EQ(error_of(wait_until_succeeds(*peer.guest, text, in(500ms))).kind(), Kind::timeout);
}

TEST_P(Waits, ForAnOpenPort) {
  peer.sh(
      "(sleep 0.3; exec python3 -c 'import socket,time; s=socket.socket(); s.setsockopt(1,2,1); "
      "s.bind((\"127.0.0.1\",8123)); s.listen(); time.sleep(30)') &");
  if (GetParam().shell == std::string("dash")) {
    if (peer.sh("command -v nc").exit_code != 0) {
      EXPECT_EQ(error_of(wait_for_open_port(*peer.guest, 8123, {}, in(5s))).kind(),
                Kind::unsupported);
      return;
    }
  }
  EXPECT_NO_THROW(peer.loop.run(wait_for_open_port(*peer.guest, 8123, {}, in(20s))));
}

TEST_P(Waits, ForAPortSayWhatCame) {
  bool has_sockets = GetParam().shell == std::string("bash");
  if (!has_sockets && peer.sh("command -v nc").exit_code != 0)
    GTEST_SKIP() << "there is no nc here";
  auto error = error_of(wait_for_open_port(*peer.guest, 8124, {}, in(500ms)));
  EXPECT_EQ(error.kind(), Kind::timeout);
  EXPECT_THAT(error.what(),
              AllOf(HasSubstr("for port 8124 of localhost to be open"),
                    HasSubstr(has_sockets ? "Connection refused" : "nobody accepts on it")));
}

TEST_P(Waits, ForAUnitNeedSystemd) {
  auto error = error_of(wait_for_unit(*peer.guest, "x.service", {}, in(5s)));
  EXPECT_EQ(error.kind(), Kind::unsupported);
  EXPECT_THAT(error.what(), HasSubstr("systemd does not run"));
}

TEST_P(Waits, ForAUnitReturnWhenItIsActive) {
  fake_systemd("ActiveState=activating\nSubState=start\nJob=12\n");
  peer.sh("printf 'ActiveState=active\\nSubState=running\\n' >/run/next");
  EXPECT_NO_THROW(peer.loop.run(wait_for_unit(*peer.guest, "x.service", {}, in(5s))));
  EXPECT_THAT(peer.sh("cat /run/asked").output, HasSubstr("-- x.service"));
}

TEST_P(Waits, ForAUnitEndAtOnceWhenItFailed) {
  fake_systemd("ActiveState=failed\nSubState=failed\nResult=exit-code\n");
  auto error = error_of(wait_for_unit(*peer.guest, "x.service", {}, in(60s)));
  EXPECT_EQ(error.kind(), Kind::guest);
  EXPECT_THAT(error.what(),
              HasSubstr("unit 'x.service' reached state 'failed' (result: exit-code)"));
}

TEST_P(Waits, ForAUnitEndAtOnceWhenItIsInactiveWithoutJobs) {
  fake_systemd("ActiveState=inactive\nSubState=dead\nJob=0\nLoadState=loaded\n");
  EXPECT_THAT(error_of(wait_for_unit(*peer.guest, "x.service", {}, in(60s))).what(),
              HasSubstr("unit 'x.service' is inactive and no jobs are pending"));
  fake_systemd("ActiveState=inactive\nSubState=dead\nLoadState=not-found\n");
  EXPECT_THAT(error_of(wait_for_unit(*peer.guest, "x.service", {}, in(60s))).what(),
              HasSubstr("does not exist"));
}

TEST_P(Waits, ForAUnitOfNobodyEndAtOnce) {
  fake_systemd("ActiveState=active\n");
  UnitOptions options{.user = "no-such-user"};
  auto error = error_of(wait_for_unit(*peer.guest, "x.service", options, in(60s)));
  EXPECT_EQ(error.kind(), Kind::guest);
  EXPECT_THAT(error.what(), HasSubstr("the guest has no user 'no-such-user'"));
}

TEST_P(Waits, ForAUnitGoOnWhileJobsArePendingAndSayTheLastState) {
  fake_systemd("ActiveState=inactive\nSubState=dead\nJob=0\nLoadState=loaded\n");
  peer.sh("echo '12 y.service start running' >/run/jobs");
  auto error = error_of(wait_for_unit(*peer.guest, "x.service", {}, in(3s)));
  EXPECT_EQ(error.kind(), Kind::timeout);
  EXPECT_THAT(error.what(),
              HasSubstr("for unit 'x.service' to become active; last state: inactive (dead)"));
}

TEST_P(Waits, ForReadinessDoNothingWithoutSystemd) {
  EXPECT_NO_THROW(peer.loop.run(wait_ready(*peer.guest, Ready::basic, in(10s))));
}

// In the environment of everything that this program starts.
const std::string marked = [] {
  std::string value = "waits-test-" + std::to_string(::getpid());
  ::setenv("ATTEST_WAITS_TEST", value.c_str(), 1);
  return "ATTEST_WAITS_TEST=" + value;
}();

TEST_P(Waits, LeaveNoWatcherBehind) {
  peer.loop.run(wait_until_succeeds(*peer.guest, "true", in(600s)));
  // Only sleeps of this program's shells count: other tests run beside it.
  EXPECT_EQ(peer.sh("sleep 0.2; n=0; for p in $(pgrep -x sleep); do if grep -qz " + marked +
                    " /proc/$p/environ; then n=$((n+1)); fi; done; echo $n")
                .output,
            "0\n");
}

TEST_P(Waits, SleepInTheGuest) {
  auto begun = std::chrono::steady_clock::now();
  peer.loop.run(sleep(*peer.guest, 300ms, in(10s)));
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 300ms);
}

TEST_P(Waits, DiagnoseWithoutThrowing) {
  EXPECT_EQ(peer.loop.run(failed_units(*peer.guest, in(5s))), "");
  fake_systemd("x.service loaded failed failed Something\n");
  EXPECT_EQ(peer.loop.run(failed_units(*peer.guest, in(5s))),
            "x.service loaded failed failed Something");
  peer.error_of("kill -9 -1; sleep 9");
  EXPECT_THAT(peer.loop.run(failed_units(*peer.guest, in(5s))), HasSubstr("not known"));
  EXPECT_THAT(peer.loop.run(journal_tail(*peer.guest, "x.service", 30, in(5s))),
              HasSubstr("cannot be read"));
}

}  // namespace
}  // namespace attest::guest
