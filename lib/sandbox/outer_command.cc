#include "lib/sandbox/outer_command.h"

#include "lib/sandbox/apart.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace attest::sandbox {
namespace {

using base::Fd;

constexpr int patience_ms = 1000;

[[noreturn]] void become_command(const char* command, int socket) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::dup2(socket, 0);
  ::dup2(socket, 1);
  ::close(socket);
  default_signals();
  ::execl("/bin/sh", "sh", "-c", command, nullptr);
  ::_exit(127);
}

// WNOWAIT: as long as its pid is not reaped, the group's number is nobody else's.
bool has_ended(pid_t command) {
  siginfo_t seen{};
  return ::waitid(P_PID, static_cast<id_t>(command), &seen, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         seen.si_pid == command;
}

// Waits for the command, or for the reason to end it. System calls only.
[[noreturn]] void supervise(pid_t command, int socket, int owner) {
  ::dup2(0, 2);
  sigset_t child;
  ::sigemptyset(&child);
  ::sigaddset(&child, SIGCHLD);
  int signals = ::signalfd(-1, &child, SFD_CLOEXEC);
  // The end of the socket is POLLHUP; the tests may end only their writing, which is not.
  pollfd events[]{{signals, POLLIN, 0}, {socket, 0, 0}, {owner, POLLIN, 0}};
  int limit = -1;
  int next = SIGTERM;
  while (!has_ended(command)) {
    int count = ::poll(events, 3, limit);
    if (count == 0) {
      ::kill(-command, next);
      next = SIGKILL;
    } else if (events[0].revents) {
      signalfd_siginfo seen;
      if (::read(signals, &seen, sizeof seen) < 0) break;
    } else if (events[1].revents || events[2].revents) {
      // Without its owner it may never see the end of its input.
      limit = events[1].revents ? patience_ms : 0;
      events[1].fd = events[2].fd = -1;
      if (limit == 0) {
        ::kill(-command, next);
        next = SIGKILL;
        limit = patience_ms;
      }
    }
  }
  ::kill(-command, SIGKILL);
  ::_exit(0);
}

}  // namespace

Fd run_command(const std::string& command, pid_t owner) {
  auto [ours, theirs] = base::stream_pair();
  // Before Linux 5.3 there is none; then only the socket tells.
  Fd life(static_cast<int>(::syscall(SYS_pidfd_open, owner, 0)));
  const char* text = command.c_str();
  int socket = theirs.get(), watched = life.get();
  start_apart("starting a command on the host", {socket, watched}, [=] {
    ::prctl(PR_SET_NAME, "attest-command");
    ::signal(SIGCHLD, SIG_DFL);  // if it was ignored, no end of a child would be seen
    pid_t child = ::fork();
    if (child == 0) become_command(text, socket);
    if (child < 0) ::_exit(1);
    ::setpgid(child, child);
    supervise(child, socket, watched);
  });
  return std::move(ours);
}

}  // namespace attest::sandbox
