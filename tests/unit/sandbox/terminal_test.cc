// The keys of a terminal: what reaches the foreground group by itself is not sent again, and a
// shell sees the job stop and go on.
#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "tests/unit/sandbox/probe_run.h"

#include <gtest/gtest.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

namespace attest::sandbox {
namespace {

/// The probe as the foreground job of a shell on a terminal. The "shell" is a process of ours
/// that starts it and writes each wait status of it to a pipe.
class Terminal : public ::testing::Test {
 protected:
  void SetUp() override {
    auto [status_out, status_in] = base::make_pipe();
    int screen = -1;
    shell_ = base::check(::forkpty(&screen, nullptr, nullptr, nullptr), "making a terminal");
    if (shell_ == 0) be_a_shell(status_in.get());
    screen_.reset(screen);
    statuses_ = std::move(status_out);
    ASSERT_TRUE(until("job=").size());
    job_ = std::stoi(until("\n"));
    ASSERT_TRUE(until("ready\r\n").size());
  }

  void TearDown() override {
    if (job_ > 0) ::kill(job_, SIGKILL);
    ::kill(shell_, SIGKILL);
    ::waitpid(shell_, nullptr, 0);
  }

  [[noreturn]] static void be_a_shell(int statuses) {
    ::signal(SIGTTOU, SIG_IGN);
    pid_t job = ::fork();
    if (job == 0) {
      ::setpgid(0, 0);
      ::tcsetpgrp(0, ::getpid());
      ::signal(SIGTTOU, SIG_DFL);
      std::string text = "job=" + std::to_string(::getpid()) + "\n";
      (void)!::write(1, text.data(), text.size());
      ::execl(SANDBOX_PROBE, "sandbox_probe", "auto", "signals", nullptr);
      ::_exit(127);
    }
    for (int status; ::waitpid(job, &status, WUNTRACED | WCONTINUED) == job;)
      (void)!::write(statuses, &status, sizeof status);
    ::_exit(0);
  }

  // What the terminal shows up to and including `end`; "" if it ends before.
  std::string until(const std::string& end) {
    std::string text;
    for (char c; !text.ends_with(end); text.push_back(c))
      if (::read(screen_.get(), &c, 1) != 1) return {};
    return text;
  }

  void press(char key) { ASSERT_EQ(::write(screen_.get(), &key, 1), 1); }
  int next_status() {
    int status = -1;
    (void)!::read(statuses_.get(), &status, sizeof status);
    return status;
  }

  pid_t shell_ = -1, job_ = -1;
  base::Fd screen_, statuses_;
};

TEST_F(Terminal, CtrlCArrivesOnce) {
  press('\x03');
  EXPECT_TRUE(until("signal 2\r\n").size());
  // Were it sent twice, the second would come before this one, on the same way.
  ::kill(job_, SIGUSR1);
  EXPECT_EQ(until("\n"), "signal 10\r\n");
}

TEST_F(Terminal, CtrlZStopsTheJobAndContinuingGoesOn) {
  press('\x1a');
  EXPECT_TRUE(WIFSTOPPED(next_status()));
  ::kill(-job_, SIGCONT);
  EXPECT_TRUE(WIFCONTINUED(next_status()));
  ::kill(job_, SIGUSR1);
  EXPECT_TRUE(until("signal 10\r\n").size());
  ::kill(job_, SIGTERM);
  EXPECT_EQ(next_status(), W_EXITCODE(9, 0));
  job_ = -1;
}

TEST_F(Terminal, AStopSentToTheOuterProcessStopsBoth) {
  ::kill(job_, SIGTSTP);
  EXPECT_TRUE(WIFSTOPPED(next_status()));
  ::kill(job_, SIGCONT);
  EXPECT_TRUE(WIFCONTINUED(next_status()));
  ::kill(job_, SIGUSR1);
  EXPECT_TRUE(until("signal 10\r\n").size());
}

}  // namespace
}  // namespace attest::sandbox
