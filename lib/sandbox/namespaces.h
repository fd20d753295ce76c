// Making namespaces and furnishing them: id maps, private mounts, /proc, /sys, lo. No fork and
// no policy here; sandbox.cc decides which namespaces, and what a refusal means.
#pragma once
#include "lib/sandbox/refusal.h"

#include <sys/types.h>

#include <optional>

namespace attest::sandbox {

/// What to make. Taken before, since ids read as 65534 inside until the maps are written.
struct NamespacePlan {
  bool user = true;     ///< a user namespace in which our ids are 0
  bool mapped = false;  ///< somebody outside writes the id maps
  bool pid = true;      ///< with a fresh /proc; the first process inside is pid 1
  uid_t uid = 0;
  gid_t gid = 0;
};

/// Like fork(), with the child in the new namespaces; -1 and errno if refused. The child must
/// fork() again before it uses anything that depends on the thread id.
pid_t clone_into(const NamespacePlan& plan);
/// Moves this process, which must have one thread, into the new namespaces; plan.pid is false.
std::optional<Refusal> move_into(const NamespacePlan& plan);
/// Makes new namespaces usable, from inside; what is refused is returned, and then the
/// namespaces are unusable.
std::optional<Refusal> furnish(const NamespacePlan& plan);

}  // namespace attest::sandbox
