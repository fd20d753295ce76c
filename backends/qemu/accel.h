// KVM or TCG for a machine. A /dev/kvm that opens proves nothing: on some hosts it answers and
// still hangs every stock kernel. So a guest is booted once, and the answer kept until the host
// boots again.
#pragma once
#include "attest/config.h"
#include "lib/async/net.h"

#include <string>

namespace attest::qemu {

/// How a machine will run, and why.
struct AccelChoice {
  bool kvm = false;
  std::string
      reason;  ///< for people: "KVM: /dev/kvm exists, but a probe guest did not boot in ..."
};

/// What $ATTEST_ACCEL (kvm, tcg, auto) or else the config wants. Throws Error{usage} for other
/// values of the variable.
Accel wanted_accel(const MachineConfig& config);

/// Decides for one machine. TCG needs no look at the host. Otherwise may block for 3 s, once per
/// boot of the host, QEMU and kernel; safe from several threads, which share one probe. `kvm`
/// being false when KVM was asked for is the caller's error to make: it never falls back by itself.
AccelChoice choose_accel(const MachineConfig& config);

/// The same for a coroutine: the blocking part runs on a thread of its own.
Task<AccelChoice> choose_accel_async(MachineConfig config);

}  // namespace attest::qemu
