#include "lib/sandbox/signals.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <initializer_list>

namespace attest::sandbox {

HeldSignals::HeldSignals() {
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &mask_);
  struct sigaction standard{};
  standard.sa_handler = SIG_DFL;
  ::sigaction(SIGCHLD, &standard, &child_);
}

void HeldSignals::restore() const noexcept {
  ::sigaction(SIGCHLD, &child_, nullptr);
  ::sigprocmask(SIG_SETMASK, &mask_, nullptr);
}

sigset_t watched_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU,
                     SIGCONT, SIGCHLD, SIGWINCH, SIGALRM})
    ::sigaddset(&set, number);
  return set;
}

bool stops(int number) { return number == SIGTSTP || number == SIGTTIN || number == SIGTTOU; }

bool is_passed_on(int number, int origin, bool session_leader) {
  if (number == SIGCHLD) return false;
  if (origin != SI_KERNEL) return true;
  return number == SIGALRM || (number == SIGHUP && session_leader);
}

void end_like(int wait_status) noexcept {
  if (WIFEXITED(wait_status)) ::_exit(WEXITSTATUS(wait_status));
  int number = WTERMSIG(wait_status);
  // The tests have dumped their core if they should; ours would only hide it. A core_pattern that
  // names a program disregards the limit, but not this flag.
  rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
  ::signal(number, SIG_DFL);
  sigset_t only;
  ::sigemptyset(&only);
  ::sigaddset(&only, number);
  ::sigprocmask(SIG_UNBLOCK, &only, nullptr);
  ::raise(number);
  ::_exit(128 + number);
}

}  // namespace attest::sandbox
