// kill -9 at random moments: nothing may be left, whoever is hit and whenever.
#include "lib/base/file.h"
#include "tests/unit/sandbox/probe_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <ostream>
#include <random>
#include <thread>

namespace attest::sandbox {
namespace {

namespace fs = std::filesystem;

int rounds() {
  const char* size = std::getenv("ATTEST_CAMPAIGN");
  return size && std::string(size) == "full" ? 200 : 20;
}

struct KillCase {
  const char* name;
  int inner;                          // the victim's pid inside: 1 reaper, 2 tests; 0: outermost
  bool ready;                         // only once it is busy, or at any moment
  std::function<void()> before_exec;  // another user, or a filter that takes pid namespaces away
};
void PrintTo(const KillCase& row, std::ostream* out) { *out << row.name; }
class KillNine : public ::testing::TestWithParam<KillCase> {};

// 0 while the wanted process does not exist yet.
pid_t find_victim(const Probe& probe, int inner) {
  if (inner == 0) return probe.pid();
  for (pid_t pid : marked_processes(probe.mark()))
    if (pid != probe.pid() && inner_pid(pid) == inner) return pid;
  return 0;
}

TEST_P(KillNine, LeavesNothing) {
  const auto& row = GetParam();
  if (::geteuid() != 0 && row.before_exec) GTEST_SKIP() << "only root can become another user";
  base::TempDir tmpdir;
  fs::permissions(tmpdir.path(), fs::perms(01777));
  std::random_device random;
  int busy = 0;
  for (int round = 0; round < rounds(); ++round) {
    Probe probe({"require", "busy"},
                {.env = {{"TMPDIR", tmpdir.path()}}, .before_exec = row.before_exec});
    if (row.ready) {
      std::string line = probe.line();
      if (line != "ready") GTEST_SKIP() << "no sandbox here: " << line;
      ++busy;
    } else {
      // The random moment is what is tested; start-up takes a few milliseconds.
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 12000));
    }
    pid_t victim = find_victim(probe, row.inner);
    if (victim == 0) victim = probe.pid();  // too early for that one
    ASSERT_EQ(::kill(victim, SIGKILL), 0);
    EXPECT_EQ(probe.wait(), SIGKILL);
    ASSERT_TRUE(eventually([&] { return marked_processes(probe.mark()).empty(); }))
        << "round " << round;
    ASSERT_TRUE(fs::is_empty(tmpdir.path())) << "round " << round;
    ASSERT_EQ(::if_nametoindex("attestprobe0"), 0u);
    ASSERT_THAT(base::read_file("/proc/self/mountinfo"),
                ::testing::Not(::testing::HasSubstr("/proc/driver")));
  }
  if (row.ready) {
    EXPECT_EQ(busy, rounds());
  }
}

INSTANTIATE_TEST_SUITE_P(
    , KillNine,
    ::testing::Values(KillCase{"of_the_outer_process", 0, true, {}},
                      KillCase{"of_the_outer_process_at_any_moment", 0, false, {}},
                      KillCase{"of_the_tests", 2, true, {}},
                      KillCase{"of_the_tests_at_any_moment", 2, false, {}},
                      KillCase{"of_the_reaper", 1, true, {}},
                      KillCase{"of_the_reaper_at_any_moment", 1, false, {}},
                      KillCase{"of_a_users_outer_process", 0, true, become_nobody},
                      KillCase{"of_a_users_tests", 2, true, become_nobody}),
    [](const auto& row) { return row.param.name; });

// Here it is the death signal of each child, so the probe's own children (which have none) stay;
// the doorman must not.
TEST(KillNineWithoutPidNamespace, LeavesNoDoorman) {
  for (int round = 0; round < rounds(); ++round) {
    Probe probe({"auto", "wait"}, {.before_exec = refuse_namespaces(CLONE_NEWPID)});
    ASSERT_EQ(probe.line(), "ready");
    ::kill(probe.pid(), SIGKILL);
    EXPECT_EQ(probe.wait(), SIGKILL);
    ASSERT_TRUE(eventually([&] { return marked_processes(probe.mark()).empty(); }));
  }
}

}  // namespace
}  // namespace attest::sandbox
