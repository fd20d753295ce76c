// Running a program in a container from outside: its first process is found, and a child of ours
// enters that one's namespaces.
#pragma once
#include "attest/backend.h"
#include "lib/async/net.h"
#include "lib/base/fd.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace attest::nspawn {

/// The numbers that a process has, outermost namespace first: from the text of /proc/N/status.
/// Pure.
std::vector<int> namespace_pids(std::string_view status);

/// The container's first process, held so that its number cannot become another's.
struct Leader {
  int pid = 0;
  base::Fd process;  ///< a pidfd
  /// --mount, --pid, ...: nsenter's option, and the namespace.
  std::vector<std::pair<std::string, base::Fd>> namespaces;
};

/// Looks for it in the container's cgroup: it is pid 1 two pid namespaces below us (the launcher's,
/// then nspawn's). nullopt if it is not there yet, or not any more.
std::optional<Leader> find_leader(const std::filesystem::path& cgroup);

/// Sends it a signal.
void signal_leader(const Leader& leader, int number) noexcept;

/// Runs `argv` in its namespaces, as root with an environment of its own, and returns its stdin and
/// stdout; what it says on stderr goes to the console. `program`, if any, is a file that it finds
/// as /proc/self/fd/9. It ends with the stream, and with the container. Throws Error{host}.
std::unique_ptr<Stream> enter(asio::any_io_executor loop, Leader leader,
                              std::vector<std::string> argv, std::string_view program,
                              std::function<void(std::string_view)> console);

/// What enter() runs for the agent, and for a shell behind the banner.
std::vector<std::string> agent_argv();
std::vector<std::string> shell_argv();

}  // namespace attest::nspawn
