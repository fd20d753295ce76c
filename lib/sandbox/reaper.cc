#include "lib/sandbox/reaper.h"

#include "lib/sandbox/descriptors.h"
#include "lib/sandbox/door_socket.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace attest::sandbox {
namespace {

// Reaps all that has ended. True once the tests have.
bool reap_ended(pid_t tests, int control) noexcept {
  for (;;) {
    int status = 0;
    pid_t pid = ::waitpid(-1, &status, WNOHANG | WUNTRACED);
    if (pid <= 0) return false;
    if (pid != tests) continue;
    if (WIFSTOPPED(status)) {
      send_report(control, {Report::Kind::stopped});
      continue;
    }
    send_report(control, {Report::Kind::ended, Step::start, status});
    return true;
  }
}

}  // namespace

void send_report(int control, const Report& report) noexcept {
  send_packet(control, {reinterpret_cast<const char*>(&report), sizeof report});
}

std::optional<Report> receive_report(int control) {
  Packet packet = receive_packet(control);
  Report report;
  if (packet.bytes.size() != sizeof report) return std::nullopt;
  std::memcpy(&report, packet.bytes.data(), sizeof report);
  return report;
}

void die_with_parent() noexcept { ::prctl(PR_SET_PDEATHSIG, SIGKILL); }

void reap(pid_t tests, base::Fd control) noexcept {
  ::prctl(PR_SET_NAME, "attest-reaper");
  keep_only({control.get()});
  sigset_t child;
  ::sigemptyset(&child);
  ::sigaddset(&child, SIGCHLD);
  int signals = ::signalfd(-1, &child, SFD_CLOEXEC);
  if (signals < 0) ::_exit(1);
  pollfd events[]{{signals, POLLIN, 0}, {control.get(), POLLIN, 0}};
  for (;;) {
    if (::poll(events, 2, -1) < 0 && errno != EINTR) ::_exit(1);
    if (events[1].revents) {
      int number = 0;
      // The end of the stream is the end of the process outside, which nothing may outlive.
      if (::recv(control.get(), &number, sizeof number, 0) != sizeof number) ::_exit(1);
      ::kill(tests, number);
    }
    if (events[0].revents) {
      signalfd_siginfo seen;
      if (::read(signals, &seen, sizeof seen) < 0) ::_exit(1);
      if (reap_ended(tests, control.get())) ::_exit(0);
    }
  }
}

}  // namespace attest::sandbox
