#include "lib/sandbox/outside.h"

#include "lib/sandbox/descriptors.h"
#include "lib/sandbox/door_service.h"
#include "lib/sandbox/door_socket.h"
#include "lib/sandbox/reaper.h"
#include "lib/sandbox/signals.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <optional>
#include <string_view>

namespace attest::sandbox {
namespace {

// One event loop for both places; beside the tests there is no reaper (-1) and no control.
class Outside {
 public:
  Outside(base::Fd control, base::Fd door, pid_t reaper)
      : control_(std::move(control)), door_(std::move(door)), reaper_(reaper) {
    keep_only({control_.get(), door_.get()});
    sigset_t watched = watched_signals();
    signals_.reset(::signalfd(-1, &watched, SFD_CLOEXEC));
    // All others act as ever, so that a crash of ours ends us.
    ::sigprocmask(SIG_SETMASK, &watched, nullptr);
  }

  // Returns when the door is closed for good (beside), or with the reaper's end (outside).
  int run() {
    while (!ended_ && (control_ || reaper_ > 0 || door_)) turn();
    if (!ended_) return 0;
    take_reports();
    return tests_ended_.value_or(*ended_);
  }

 private:
  void turn() {
    pollfd events[]{
        {signals_.get(), POLLIN, 0}, {control_.get(), POLLIN, 0}, {door_.get(), POLLIN, 0}};
    if (::poll(events, 3, -1) < 0 && errno != EINTR) ::_exit(1);
    if (events[1].revents) take_report();
    if (events[2].revents && !serve_one(door_.get())) door_.reset();
    if (events[0].revents) take_signal();
  }

  void take_signal() {
    signalfd_siginfo seen{};
    if (::read(signals_.get(), &seen, sizeof seen) != sizeof seen) return;
    int number = static_cast<int>(seen.ssi_signo);
    if (number == SIGCHLD) return reap();
    if (stops(number)) stop_wanted_ = true;
    if (number == SIGCONT) stop_wanted_ = stopped_ = false;
    if (control_ && is_passed_on(number, seen.ssi_code, ::getsid(0) == ::getpid()))
      send_packet(control_.get(), {reinterpret_cast<const char*>(&number), sizeof number});
    stop_with_tests();
  }

  void reap() {
    int status = 0;
    while (pid_t pid = ::waitpid(-1, &status, WNOHANG)) {
      if (pid < 0) return;
      if (pid == reaper_) ended_ = status;
    }
  }

  void take_report() {
    auto report = receive_report(control_.get());
    if (!report) return control_.reset();
    if (report->kind == Report::Kind::ended) tests_ended_ = report->value;
    if (report->kind == Report::Kind::stopped) stopped_ = true;
    stop_with_tests();
  }

  void take_reports() {
    while (control_) take_report();
  }

  // A shell watches only us: it takes the terminal back when we stop. Tests that ignore Ctrl-Z
  // keep running, and so do we.
  void stop_with_tests() {
    if (!stop_wanted_ || !stopped_) return;
    stop_wanted_ = stopped_ = false;
    ::raise(SIGSTOP);
  }

  base::Fd control_, door_, signals_;
  pid_t reaper_;
  std::optional<int> ended_, tests_ended_;
  bool stop_wanted_ = false, stopped_ = false;
};

}  // namespace

void stay_outside(base::Fd control, base::Fd door, pid_t reaper) noexcept {
  ::prctl(PR_SET_NAME, "attest-doorman");
  end_like(Outside(std::move(control), std::move(door), reaper).run());
}

void stay_beside(base::Fd door) noexcept {
  ::prctl(PR_SET_NAME, "attest-doorman");
  Outside({}, std::move(door), -1).run();
  ::_exit(0);
}

}  // namespace attest::sandbox
