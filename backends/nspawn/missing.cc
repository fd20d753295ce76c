#include "backends/nspawn/missing.h"

#include "attest/error.h"
#include "backends/nspawn/cgroup.h"
#include "backends/nspawn/command_line.h"
#include "lib/async/child.h"
#include "lib/base/fd.h"
#include "lib/base/text.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace attest::nspawn {
namespace {

// What the child does, in order.
constexpr const char* steps[] = {"entering a cgroup of its own",
                                 "making mount, pid, ipc, uts and cgroup namespaces",
                                 "making the mounts private", "mounting the cgroup2 file system"};

struct Outcome {
  int failed_step = -1;
  int error = 0;
};

// Between fork() and the end, in a program with threads: system calls only.
Outcome attempt(const char* procs) {
  int file = ::open(procs, O_WRONLY | O_CLOEXEC);
  if (file < 0 || ::write(file, "0", 1) != 1) return {0, errno};
  if (::unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) != 0)
    return {1, errno};
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return {2, errno};
  if (::mount("attest", "/sys/fs/cgroup", "cgroup2", 0, nullptr) != 0) return {3, errno};
  return {};
}

std::string try_namespaces(const Cgroup& cgroup) {
  std::string procs = cgroup.path() / "cgroup.procs";
  auto [ours, theirs] = base::make_pipe();
  pid_t child = ::fork();
  if (child < 0) return std::string("a process cannot be started: ") + std::strerror(errno);
  if (child == 0) {
    Outcome outcome = attempt(procs.c_str());
    (void)!::write(theirs.get(), &outcome, sizeof outcome);
    ::_exit(0);
  }
  theirs.reset();
  Outcome outcome{.failed_step = 0, .error = ECHILD};
  (void)!::read(ours.get(), &outcome, sizeof outcome);
  while (::waitpid(child, nullptr, 0) == -1 && errno == EINTR) {
  }
  if (outcome.failed_step < 0) return "";
  return std::string(steps[outcome.failed_step]) + " failed: " + std::strerror(outcome.error);
}

HostProbe probe() {
  auto parent = own_cgroup();
  if (!parent)
    return {.no_cgroup = "no cgroup v2 is mounted here, or none that this process is in",
            .no_namespace = {}};
  try {
    Cgroup cgroup(*parent / ("attest-" + base::random_hex(4) + "-probe"));
    return {.no_cgroup = {}, .no_namespace = try_namespaces(cgroup)};
  } catch (const Error& failure) {
    return {.no_cgroup = failure.what(), .no_namespace = {}};
  }
}

}  // namespace

const HostProbe& probe_host() {
  static const HostProbe found = probe();
  return found;
}

std::optional<Missing> judge(const NspawnHost& host, bool program_found, const HostProbe& probe,
                             const MachineConfig& config) {
  if (!program_found)
    return Missing{"nspawn", "the program '" + config.nspawn.binary +
                                 "' was not found; install systemd-nspawn (Debian: "
                                 "systemd-container)"};
  if (!host.id_range)
    return Missing{"nspawn",
                   host.why_no_id_range.empty()
                       ? "containers need 65536 user ids: run as root, or install newuidmap "
                         "(Debian: uidmap) and give this user a range of them with 'usermod "
                         "--add-subuids 100000-165535 --add-subgids 100000-165535 USER'"
                       : host.why_no_id_range};
  if (network_of(config) == Network::veth && !host.own_network)
    return Missing{"nspawn",
                   "containers on VLANs need a network namespace of ours, and the sandbox gives "
                   "none here; use --attest_sandbox=require to see why, or set the machine's "
                   "'network' to host or none"};
  if (!probe.no_cgroup.empty())
    return Missing{"nspawn",
                   probe.no_cgroup +
                       "; containers need a cgroup v2 that is ours: boot with "
                       "systemd.unified_cgroup_hierarchy=1 where there is only v1; as an ordinary "
                       "user run the test by 'systemd-run --user --scope -p Delegate=yes COMMAND'"};
  if (!probe.no_namespace.empty())
    return Missing{"nspawn", probe.no_namespace +
                                 "; run as root, or where namespaces are permitted (a container "
                                 "of another kind needs to be privileged)"};
  return std::nullopt;
}

std::optional<Missing> missing(const NspawnHost& host, const MachineConfig& config) {
  // A path that is wrong is a mistake in the config, which boot() tells; a name is looked up here.
  bool named = config.nspawn.binary.find('/') == std::string::npos;
  bool found = !named || !async::find_program(config.nspawn.binary).empty();
  static const HostProbe none;
  // Nothing is tried where the answer is known.
  bool enough = found && host.id_range;
  return judge(host, found, enough ? probe_host() : none, config);
}

}  // namespace attest::nspawn
