// Pid 1 of the pid namespace: waits for the tests, reaps what nobody else does, and ends with
// the process outside. Speaks with it in fixed-size packets over a control socket.
#pragma once
#include "lib/base/fd.h"
#include "lib/sandbox/refusal.h"

#include <sys/types.h>

#include <optional>

namespace attest::sandbox {

/// A packet to the outside. Both ends are the same program, so the struct itself is the format.
struct Report {
  enum class Kind { refused, ready, stopped, ended } kind = Kind::refused;
  Step step = Step::start;  ///< refused
  int value = 0;            ///< refused: errno; ended: the tests' wait status
};

void send_report(int control, const Report& report) noexcept;
/// The next report; blocks. Nullopt at the end of the stream.
std::optional<Report> receive_report(int control);

/// Dies with the process that made us: the kernel kills us when its thread ends.
void die_with_parent() noexcept;
/// Serves as pid 1 until `tests` has ended, passing in the signal numbers that come from
/// `control`. All signals must be blocked. Uses system calls only. As it exits, the kernel kills
/// whatever is left in the namespace.
[[noreturn]] void reap(pid_t tests, base::Fd control) noexcept;

}  // namespace attest::sandbox
