// Why a host does not give us namespaces, and what its owner can do about it. The decision is
// a pure function over a few facts, so that hosts we do not have can be tested.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace attest::sandbox {

/// The steps into a sandbox that a host may refuse.
enum class Step {
  make_namespaces,
  write_id_maps,
  make_mounts_private,
  mount_proc,
  raise_loopback,
  start
};

/// One refused step.
struct Refusal {
  Step step = Step::make_namespaces;
  int code = 0;  ///< errno
};

/// Of /proc/self/status, what matters here.
struct ProcessStatus {
  int threads = 1;
  int tracer = 0;          ///< pid of the debugger, 0 without one
  bool seccomp = false;    ///< a system call filter is installed
  bool sys_admin = false;  ///< CAP_SYS_ADMIN is effective
};

/// What is known of the host. An absent value: the kernel has no such setting.
struct HostFacts {
  ProcessStatus process;
  bool needs_user_namespace = true;               ///< not root with CAP_SYS_ADMIN
  std::optional<long> apparmor_restricts_userns;  ///< kernel.apparmor_restrict_unprivileged_userns
  std::optional<long> unprivileged_userns_clone;  ///< kernel.unprivileged_userns_clone
  std::optional<long> max_user, max_net, max_mnt, max_pid;  ///< user.max_*_namespaces
};

/// A cause and its remedy, both one line.
struct Explanation {
  std::string cause, remedy;
};

/// Reads the text of /proc/self/status; missing lines leave the defaults.
ProcessStatus parse_status(std::string_view text);
/// Reads this host and process. Never fails: what cannot be read is absent.
HostFacts read_host_facts();
/// Pure.
Explanation explain_refusal(Refusal refusal, const HostFacts& facts);

}  // namespace attest::sandbox
