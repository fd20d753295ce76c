// Which signals the process outside passes to the tests, and how it ends as they ended.
#pragma once
#include <csignal>

namespace attest::sandbox {

/// Blocks every signal, so that none is lost while processes are being made, and gives SIGCHLD
/// its default action, without which no exit status could be read.
class HeldSignals {
 public:
  HeldSignals();
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;
  /// As before; what came meanwhile is delivered.
  void restore() const noexcept;

 private:
  sigset_t mask_;
  struct sigaction child_;
};

/// The signals that are read, not suffered, by the process outside.
sigset_t watched_signals();
/// True for one that would stop a process: Ctrl-Z and terminal access from the background.
bool stops(int number);
/// Whether a signal that the outer process got is passed on to the tests. `origin` is its
/// siginfo's si_code. What the terminal sends (SI_KERNEL) has reached the whole foreground group,
/// the tests included; only a hang-up goes to the session's leader alone. Pure.
bool is_passed_on(int number, int origin, bool session_leader);
/// Ends this process as `wait_status` (of waitpid) says: same exit code, or same signal without
/// a core dump. Runs no exit handlers and flushes nothing.
[[noreturn]] void end_like(int wait_status) noexcept;

}  // namespace attest::sandbox
