// SIGKILL at random moments of boot, exec and shutdown, of the process outside the sandbox and
// of the one inside: whatever was running, mounted, listening or linked must be gone.
// 10 rounds each in CI, 50 with ATTEST_CAMPAIGN=full; ATTEST_SEED repeats a run; ATTEST_BACKEND,
// which the subject obeys, and ATTEST_KILL_BOOT_MS, how long its boot takes at most, make it
// another one's.
#include "traces.h"

#include <gmock/gmock.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using attest_test::slurp;
using attest_test::traces;
using attest_test::without;

// Living processes whose environment carries `mark`, by pid; zombies are the host init's business.
std::vector<pid_t> marked(const std::string& mark) {
  std::vector<pid_t> found;
  for (auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (slurp("/proc/" + name + "/environ").find(mark) == std::string::npos) continue;
    auto stat = slurp("/proc/" + name + "/stat");
    auto after_name = stat.rfind(')');
    if (after_name == std::string::npos || stat.compare(after_name + 2, 1, "Z") == 0) continue;
    found.push_back(std::stoi(name));
  }
  return found;
}

// The subjects' TMPDIR: nobody else's files come and go there.
const std::string& own_temp() {
  static std::string made = (std::filesystem::temp_directory_path() / "kill-test-XXXXXX").string();
  static const char* path = ::mkdtemp(made.data());
  static_cast<void>(path);
  return made;
}

struct Subject {
  pid_t outer = -1;
  int output = -1;
  std::string mark;
};

Subject launch(int round) {
  Subject subject;
  subject.mark = "ATTEST_KILL_MARK=" + std::to_string(::getpid()) + "-" + std::to_string(round);
  int ends[2];
  if (::pipe(ends) != 0) std::abort();
  subject.outer = ::fork();
  if (subject.outer == 0) {
    ::setpgid(0, 0);
    ::dup2(ends[1], 1);
    int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, 2);
    ::close(ends[0]);
    ::close(ends[1]);
    ::putenv(subject.mark.data());
    ::setenv("TMPDIR", own_temp().c_str(), 1);
    ::execl(std::getenv("ATTEST_KILL_SUBJECT"), "kill_subject", nullptr);
    ::_exit(127);
  }
  ::close(ends[1]);
  subject.output = ends[0];
  return subject;
}

// Reads the subject's stdout until it has said `phase`.
bool await_phase(const Subject& subject, const std::string& phase, Clock::time_point until) {
  std::string seen;
  char buffer[512];
  while (Clock::now() < until) {
    pollfd ready{subject.output, POLLIN, 0};
    if (::poll(&ready, 1, 200) <= 0) continue;
    ssize_t count = ::read(subject.output, buffer, sizeof buffer);
    if (count <= 0) return false;
    seen.append(buffer, static_cast<std::size_t>(count));
    if (seen.find("phase " + phase) != std::string::npos) return true;
  }
  return false;
}

// The test process: the processes around it, the doorman and the reaper, have names of their own.
pid_t innermost(const Subject& subject) {
  for (pid_t pid : marked(subject.mark))
    if (pid != subject.outer && slurp("/proc/" + std::to_string(pid) + "/comm") == "kill_subject\n")
      return pid;
  return subject.outer;
}

enum class Whom { outer, inner };

void campaign(Whom whom) {
  const char* size = std::getenv("ATTEST_CAMPAIGN");
  int rounds = size && std::string(size) == "full" ? 50 : 10;
  const char* given = std::getenv("ATTEST_SEED");
  unsigned seed = given ? static_cast<unsigned>(std::stoul(given)) : std::random_device{}();
  std::cout << "ATTEST_SEED=" << seed << ", " << rounds << " rounds" << std::endl;
  const char* boot = std::getenv("ATTEST_KILL_BOOT_MS");
  auto boot_ms = boot ? std::stoul(boot) : 4000;
  std::mt19937 random(seed);
  const std::vector<std::string> phases = {"boot", "exec", "shutdown"};

  for (int round = 0; round < rounds; ++round) {
    auto& phase = phases[static_cast<std::size_t>(round) % phases.size()];
    auto pause = std::chrono::milliseconds(random() % (phase == "boot" ? boot_ms : 600));
    SCOPED_TRACE("round " + std::to_string(round) + ": " + phase + " + " +
                 std::to_string(pause.count()) + " ms");
    auto before = traces(own_temp(), "victim");
    auto subject = launch(round);
    ASSERT_TRUE(await_phase(subject, phase, Clock::now() + 120s))
        << "the subject never came that far";
    std::this_thread::sleep_for(pause);  // the moment is the subject of this test

    pid_t target = whom == Whom::outer ? subject.outer : innermost(subject);
    ASSERT_TRUE(whom == Whom::outer || target != subject.outer) << "found no process inside";
    ASSERT_EQ(::kill(target, SIGKILL), 0);
    int status = 0;
    ::waitpid(subject.outer, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        << "the outer process must end as the test did, but its wait status is " << status;

    auto until = Clock::now() + 5s;
    while (!marked(subject.mark).empty() && Clock::now() < until) std::this_thread::sleep_for(5ms);
    EXPECT_THAT(marked(subject.mark), testing::IsEmpty()) << "processes are left";
    // The reader of its stdout must see the end: nobody may hold CI's pipe open.
    char rest[4096];
    while (::read(subject.output, rest, sizeof rest) > 0) {
    }
    ::close(subject.output);
    // The kernel removes no cgroups: what does so for us outlives the killed one by a moment.
    while (!without(traces(own_temp(), "victim"), before).empty() && Clock::now() < until)
      std::this_thread::sleep_for(5ms);
    EXPECT_THAT(without(traces(own_temp(), "victim"), before), testing::IsEmpty());
    if (testing::Test::HasFailure()) return;
  }
}

TEST(KillTheOuterProcess, LeavesNothing) { campaign(Whom::outer); }
TEST(KillTheInnerProcess, LeavesNothing) { campaign(Whom::inner); }

}  // namespace
