// The three levels of the sandbox as rows of a test's table.
#pragma once
#include "tests/unit/sandbox/probe_run.h"

#include <sched.h>

#include <functional>
#include <ostream>
#include <string>
#include <vector>

namespace attest::sandbox {

/// A level: how the probe is asked for it, and what is taken away before.
struct Place {
  const char* name;
  std::string mode;
  std::function<void()> before_exec;
};
inline void PrintTo(const Place& place, std::ostream* out) { *out << place.name; }

inline std::vector<Place> every_place() {
  return {{"full", "require", {}},
          {"no_pid_namespace", "auto", refuse_namespaces(CLONE_NEWPID)},
          {"none", "off", {}}};
}

}  // namespace attest::sandbox
