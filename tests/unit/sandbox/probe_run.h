// Runs sandbox_probe as a child, as another user or under a filter if a test says so.
#pragma once
#include "lib/base/fd.h"

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace attest::sandbox {

/// How to start the probe.
struct ProbeOptions {
  std::map<std::string, std::string> env = {};
  std::function<void()> before_exec = {};  ///< in the child: drop privileges, install a filter
};

/// A running probe with its stdin and stdout on pipes. The destructor kills and reaps it.
class Probe {
 public:
  explicit Probe(std::vector<std::string> arguments, ProbeOptions options = {});
  Probe(const Probe&) = delete;
  ~Probe();

  pid_t pid() const { return pid_; }
  /// The environment entry by which each of its processes can be found.
  const std::string& mark() const { return mark_; }
  /// The next line of its output; "" at the end.
  std::string line();
  /// All the rest of its output.
  std::string rest();
  /// Its wait status, once.
  int wait();

 private:
  pid_t pid_ = -1;
  std::string mark_;
  base::Fd input_, output_;
};

/// What a whole run printed, and its wait status.
struct Outcome {
  std::string output;
  int status = 0;
  /// The value of the line "key=value"; "" without one.
  std::string value(const std::string& key) const;
};
Outcome run_probe(std::vector<std::string> arguments, ProbeOptions options = {});

/// before_exec: an ordinary user, with no group but its own.
void become_nobody();
/// before_exec: unshare(), clone() with one of the namespace `flags` fail with EPERM, as under a
/// container runtime's filter.
std::function<void()> refuse_namespaces(unsigned flags);

/// The pids of all living (not zombie) processes that carry `mark` in their environment.
std::vector<pid_t> marked_processes(const std::string& mark);
/// Its pid in the innermost pid namespace.
int inner_pid(pid_t pid);
/// True once `condition` holds; false after ten seconds.
bool eventually(const std::function<bool()>& condition);

}  // namespace attest::sandbox
