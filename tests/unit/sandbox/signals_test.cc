#include "lib/sandbox/signals.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace attest::sandbox {
namespace {

struct PassCase {
  const char* name;
  int number;
  int origin;
  bool leader;
  bool passed;
};
class IsPassedOn : public ::testing::TestWithParam<PassCase> {};

TEST_P(IsPassedOn, OnlyIfItHasNotArrivedByItself) {
  const auto& row = GetParam();
  EXPECT_EQ(is_passed_on(row.number, row.origin, row.leader), row.passed);
}

INSTANTIATE_TEST_SUITE_P(
    , IsPassedOn,
    ::testing::Values(PassCase{"kill_term", SIGTERM, SI_USER, false, true},
                      PassCase{"kill_int", SIGINT, SI_USER, false, true},
                      PassCase{"sigqueue", SIGUSR1, SI_QUEUE, false, true},
                      PassCase{"tgkill", SIGUSR2, SI_TKILL, false, true},
                      PassCase{"terminal_ctrl_c", SIGINT, SI_KERNEL, false, false},
                      PassCase{"terminal_ctrl_c_of_a_leader", SIGINT, SI_KERNEL, true, false},
                      PassCase{"terminal_ctrl_z", SIGTSTP, SI_KERNEL, false, false},
                      PassCase{"hang_up", SIGHUP, SI_KERNEL, false, false},
                      PassCase{"hang_up_of_a_leader", SIGHUP, SI_KERNEL, true, true},
                      PassCase{"continued", SIGCONT, SI_USER, false, true},
                      PassCase{"alarm_set_before", SIGALRM, SI_KERNEL, false, true},
                      PassCase{"own_child", SIGCHLD, CLD_EXITED, false, false}),
    [](const auto& row) { return row.param.name; });

int status_of(int wait_status) {
  pid_t child = ::fork();
  if (child == 0) end_like(wait_status);
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(EndLike, GivesTheSameExitCode) {
  EXPECT_EQ(status_of(W_EXITCODE(0, 0)), W_EXITCODE(0, 0));
  EXPECT_EQ(status_of(W_EXITCODE(77, 0)), W_EXITCODE(77, 0));
}

TEST(EndLike, GivesTheSameSignalWithoutACore) {
  EXPECT_EQ(status_of(SIGSEGV), SIGSEGV);
  EXPECT_EQ(status_of(SIGKILL), SIGKILL);
  EXPECT_EQ(status_of(SIGTERM), SIGTERM);
  EXPECT_EQ(status_of(SIGABRT | WCOREFLAG), SIGABRT);
}

TEST(HeldSignals, ArriveWhenRestored) {
  static volatile sig_atomic_t seen = 0;
  seen = 0;
  auto before = ::signal(SIGUSR1, [](int) { seen = 1; });
  HeldSignals held;
  ::raise(SIGUSR1);
  EXPECT_EQ(seen, 0);
  held.restore();
  EXPECT_EQ(seen, 1);
  ::signal(SIGUSR1, before);
}

}  // namespace
}  // namespace attest::sandbox
