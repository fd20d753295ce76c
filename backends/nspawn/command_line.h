// What starts a container, as pure functions of the config and of what the host has prepared, so
// that golden files (tests/golden/nspawn) show it: the mounts that the launcher makes in a mount
// namespace of its own, and the command line that enters the namespaces and runs systemd-nspawn.
#pragma once
#include "attest/backend.h"

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace attest::nspawn {

/// Where everything lies in the launcher's mount namespace: a fixed place, so that no name from
/// outside needs quoting in mount options or in nspawn's colon-separated ones.
inline constexpr const char* inside_dir = "/run/systemd/attest";

/// A directory (or file) of the host that the container sees.
struct Bind {
  std::filesystem::path host;
  std::string guest;
  bool writable = false;
};

/// Everything that is not in the config: resolved paths, and what was found out about the host.
struct Launch {
  std::string machine;
  std::filesystem::path program;   ///< systemd-nspawn
  std::filesystem::path work_dir;  ///< holds upper, overlay, root, tree, agent, bind0, bind1, ...
  std::filesystem::path tree;      ///< the image's root; never written to
  std::filesystem::path cgroup;    ///< the container's own directory
  std::filesystem::path run_dir = "/run/systemd";  ///< covered by a tmpfs; or "/run"
  std::vector<Bind> binds;                         ///< bind<i> in work_dir exists for each
  bool user_namespace = false;  ///< not the host's root: an overlay keeps its notes elsewhere
  bool own_network = true;      ///< descriptor netns_fd is the container's network namespace
  /// Names in work_dir, and where the container has them, writable: single files in its /run and
  /// /tmp, the directory of the agent's socket.
  std::vector<std::pair<std::string, std::string>> own_binds;
  int netns_fd = 3;
};

/// The lines that `mount --all --fstab` works off, in order.
std::string mount_table(const Launch& launch);

/// The arguments, the program first: sh, which joins the cgroup and execs the rest. Pure; the
/// config has passed check_config(). `table` is the file with the mount_table().
std::vector<std::string> command_line(const MachineConfig& config, const Launch& launch,
                                      const std::filesystem::path& table);

/// On top of the environment, for the command line.
std::map<std::string, std::string> environment(const MachineConfig& config, const Launch& launch);

/// How such a machine is on the network: config.network with its default.
enum class Network { veth, host, none };
Network network_of(const MachineConfig& config);

/// Throws Error for keys that this backend cannot honour, naming the key and what to use instead.
/// `memory_mb` is a limit where the host hands the memory controller on; `vcpus` is passed over.
void check_config(const std::string& machine, const MachineConfig& config);

}  // namespace attest::nspawn
