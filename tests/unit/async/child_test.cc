#include "lib/async/child.h"

#include "lib/async/fd_stream.h"
#include "lib/async/lines.h"
#include "lib/async/loop.h"

#include <gmock/gmock.h>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

namespace attest::async {
namespace {

Task<std::string> output_of(asio::any_io_executor loop, std::string script) {
  auto [ours, theirs] = base::make_pipe();
  ChildSpec spec{.argv = {"/bin/sh", "-c", script}};
  spec.fds.emplace(1, std::move(theirs));
  Child child(loop, std::move(spec));
  spec.fds.clear();
  auto stream = make_stream(loop, std::move(ours));
  std::string all;
  char buffer[256];
  while (auto count = co_await stream->read_some(buffer)) all.append(buffer, count);
  co_await child.wait();
  co_return all;
}

TEST(Child, RunsTheLaunchHookInAGroupOfItsOwn) {
  Loop loop;
  // Field 5 of stat is the process group; the hook makes it the pid.
  EXPECT_EQ(loop.run(output_of(loop.executor(),
                               "read -r a b c d e f </proc/$$/stat; [ $e = $$ ] && echo own")),
            "own\n");
}

TEST(Child, HasADeathSignalAndNoInheritedDescriptors) {
  Loop loop;
  int leak = ::dup(1);  // deliberately not close-on-exec; a low number
  EXPECT_THAT(loop.run(output_of(loop.executor(), "ls /proc/self/fd | sort -n | tr '\\n' ' '")),
              testing::Eq("0 1 2 3 "));  // 3 is ls's own
  ::close(leak);
}

TEST(Child, HasACleanSignalMask) {
  Loop loop;
  EXPECT_EQ(loop.run(output_of(loop.executor(), "grep SigBlk /proc/self/status")),
            "SigBlk:\t0000000000000000\n");
}

// Readiness of what was closed must not be taken for the end of a process that began afterwards.
TEST(Child, DoesNotHoldTheLoopUpWhileItRuns) {
  Loop loop;
  auto round = [](asio::any_io_executor executor) -> Task<void> {
    {
      auto [ours, theirs] = base::make_pipe();
      ChildSpec spec{.argv = {"true"}};
      spec.fds.emplace(1, std::move(theirs));
      Child ending(executor, std::move(spec));
      auto stream = make_stream(executor, std::move(ours));
      char buffer[16];
      co_await stream->read_some(buffer);
    }
    ChildSpec spec{.argv = {"sleep", "5"}};
    Child running(executor, std::move(spec));
    asio::steady_timer timer(executor, std::chrono::milliseconds(5));
    co_await timer.async_wait(asio::use_awaitable);
  };
  for (int i = 0; i < 100; ++i) {
    auto begun = std::chrono::steady_clock::now();
    loop.run(round(loop.executor()));
    ASSERT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(4)) << "round " << i;
  }
}

TEST(Child, SaysHowItEnded) {
  Loop loop;
  auto run = [](asio::any_io_executor executor) -> Task<ExitStatus> {
    Child child(executor, {.argv = {"sh", "-c", "kill -9 $$"}});
    co_return co_await child.wait();
  };
  EXPECT_EQ(loop.run(run(loop.executor())).words(), "was killed by signal 9 (Killed)");
}

TEST(Child, IsKilledAndReapedWithItsGroupByTheDestructor) {
  Loop loop;
  auto run = [](asio::any_io_executor executor) -> Task<int> {
    Child child(executor, {.argv = {"sh", "-c", "sleep 1000 & wait"}});
    co_return child.pid();
  };
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // else init reaps the grandchild, some time later
  int pid = loop.run(run(loop.executor()));
  EXPECT_EQ(::kill(pid, 0), -1);
  while (::waitpid(-pid, nullptr, 0) > 0) continue;
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  EXPECT_EQ(::kill(-pid, 0), -1) << "the grandchild is still in the group";
}

TEST(Child, DiesWithTheProcessThatStartedIt) {
  auto [ours, theirs] = base::make_pipe();
  pid_t middle = ::fork();
  if (middle == 0) {
    Loop loop;
    auto run = [](asio::any_io_executor executor, int out) -> Task<void> {
      ChildSpec spec{.argv = {"sleep", "1000"}};
      spec.fds.emplace(1, base::Fd(::dup(out)));
      Child child(executor, std::move(spec));
      ::kill(::getpid(), SIGKILL);
      co_await child.wait();
    };
    loop.run(run(loop.executor(), theirs.get()));
    ::_exit(0);
  }
  ::waitpid(middle, nullptr, 0);
  theirs.reset();
  // The pipe ends only when its last writer, the grandchild, is gone.
  char byte;
  EXPECT_EQ(::read(ours.get(), &byte, 1), 0);
}

TEST(Child, NamesAProgramThatIsMissing) {
  Loop loop;
  auto run = [](asio::any_io_executor executor) -> Task<void> {
    Child child(executor, {.argv = {"no-such-program"}});
    co_return;
  };
  try {
    loop.run(run(loop.executor()));
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("'no-such-program' was not found"));
  }
}

TEST(Child, StartsUnderASmallDescriptorLimit) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit small{.rlim_cur = 64, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &small), 0);
  Loop loop;
  EXPECT_EQ(loop.run(output_of(loop.executor(), "echo started")), "started\n");
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST(Child, SurvivesAnExecutableThatIsNone) {
  Loop loop;
  auto run = [](asio::any_io_executor executor) -> Task<void> {
    Child child(executor, {.argv = {"/proc/self/exe/nonsense"}});
    co_return;
  };
  EXPECT_THROW(loop.run(run(loop.executor())), Error);
}

}  // namespace
}  // namespace attest::async
