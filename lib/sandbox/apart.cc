#include "lib/sandbox/apart.h"

#include "lib/base/sys_error.h"
#include "lib/sandbox/descriptors.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace attest::sandbox {

void start_apart(const char* attempt, std::initializer_list<int> kept,
                 const std::function<void()>& body) {
  // No handler of ours may run in the new process before it has its own signals.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t middle = ::fork();
  if (middle == 0) {
    ::setsid();
    pid_t last = ::fork();
    if (last != 0) ::_exit(last < 0 ? errno : 0);
    keep_only(kept);
    body();
    ::_exit(127);
  }
  int failure = middle < 0 ? errno : 0;
  int status = 0;
  // ECHILD: somebody ignores SIGCHLD, and the kernel has reaped it.
  if (middle > 0)
    while (::waitpid(middle, &status, 0) < 0 && errno == EINTR) {
    }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (WIFEXITED(status) && WEXITSTATUS(status) != 0) failure = WEXITSTATUS(status);
  if (failure != 0) throw base::sys_error(attempt, failure);
}

void default_signals() noexcept {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) ::sigaction(number, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace attest::sandbox
