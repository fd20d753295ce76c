#include "backends/nspawn/command_line.h"

#include <string_view>

namespace attest::nspawn {
namespace {

// $0 is the cgroup's file, the rest the command. The shell's own pid goes in, and stays in.
constexpr const char* join_cgroup = R"(echo $$ >"$0" && exec "$@")";
// $0 is the mount table, the rest nspawn. One process for all mounts: each costs 1-2 ms.
constexpr const char* mount_and_run = R"(mount --all --fstab "$0" && exec "$@")";

// As in fstab(5).
std::string field(std::string_view text) {
  std::string quoted;
  for (char c : text) {
    switch (c) {
      case ' ':
        quoted += "\\040";
        break;
      case '\t':
        quoted += "\\011";
        break;
      case '\n':
        quoted += "\\012";
        break;
      case '\\':
        quoted += "\\134";
        break;
      case '#':
        quoted += "\\043";
        break;
      default:
        quoted += c;
    }
  }
  return quoted;
}

// nspawn's own: source and destination are separated by a colon.
std::string colon_escaped(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    if (c == ':' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string inside(const std::string& name) { return std::string(inside_dir) + "/" + name; }

}  // namespace

Network network_of(const MachineConfig& config) {
  if (config.network == "host") return Network::host;
  if (config.network == "none") return Network::none;
  return Network::veth;
}

std::string mount_table(const Launch& launch) {
  std::string table;
  // mount skips what is mounted already, by source and place: hence sources with names of ours.
  auto add = [&](const std::string& source, const std::string& target, const std::string& rest) {
    table += field(source) + " " + field(target) + " " + rest + " 0 0\n";
  };
  // First what lies in the host's directories: /run and /proc are covered below. Recursive, since
  // in a user namespace the mounts in a directory cannot be left behind.
  add(launch.tree, launch.work_dir / "tree", "none rbind");
  for (std::size_t i = 0; i < launch.binds.size(); ++i)
    add(launch.binds[i].host, launch.work_dir / ("bind" + std::to_string(i)), "none rbind");
  // nspawn leaves files in /run/systemd/nspawn, which the host must not see.
  add("attest-run", launch.run_dir, "tmpfs mode=755");
  add(launch.work_dir, inside_dir, "none rbind,X-mount.mkdir");
  std::string options = "lowerdir=" + inside("tree") + ",upperdir=" + inside("upper") +
                        ",workdir=" + inside("overlay");
  if (launch.user_namespace) options += ",userxattr";
  add("attest-root", inside("root"), "overlay " + options);
  // The cgroup namespace makes the container's cgroup its root; so nspawn sees a host that has
  // nothing but cgroup v2, whatever this one has.
  add("attest-cgroup", "/sys/fs/cgroup", "cgroup2 defaults");
  add("attest-proc", "/proc", "proc nosuid,nodev,noexec");
  return table;
}

std::vector<std::string> command_line(const MachineConfig& config, const Launch& launch,
                                      const std::filesystem::path& table) {
  std::vector<std::string> words{"sh", "-c", join_cgroup, launch.cgroup / "cgroup.procs"};
  auto add = [&](std::initializer_list<std::string> more) {
    words.insert(words.end(), more.begin(), more.end());
  };
  if (launch.own_network)
    add({"nsenter", "--net=/proc/self/fd/" + std::to_string(launch.netns_fd)});
  // The pid namespace is what ends a container when the launcher is killed.
  add({"unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child=KILL"});
  add({"sh", "-c", mount_and_run, table});
  add({launch.program, "--quiet", "--directory=" + inside("root"), "--machine=" + launch.machine,
       "--register=no", "--keep-unit", "--settings=no", "--notify-ready=yes",
       "--kill-signal=SIGRTMIN+3", "--console=read-only", "--timezone=off", "--resolv-conf=off",
       "--link-journal=no", "--suppress-sync=yes"});
  // With the host's network the container must not be able to change it.
  if (launch.own_network) add({"--capability=CAP_NET_ADMIN"});
  for (auto& [name, guest] : launch.own_binds)
    add({"--bind=" + inside(name) + ":" + colon_escaped(guest)});
  for (std::size_t i = 0; i < launch.binds.size(); ++i)
    add({(launch.binds[i].writable ? "--bind=" : "--bind-ro=") +
         inside("bind" + std::to_string(i)) + ":" + colon_escaped(launch.binds[i].guest)});
  for (auto& [name, value] : config.credentials) add({"--set-credential=" + name + ":" + value});
  words.insert(words.end(), config.extra_args.begin(), config.extra_args.end());
  if (config.nspawn.toplevel.empty())
    add({"--boot"});
  else
    add({config.nspawn.toplevel + "/init"});
  if (config.debug_boot) add({"systemd.log_level=debug", "systemd.log_target=console"});
  return words;
}

std::map<std::string, std::string> environment(const MachineConfig& config, const Launch& launch) {
  std::map<std::string, std::string> env{
      {"NOTIFY_SOCKET", inside("notify")},
      {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1"},
      // Names of machines need not be unique among all users of the host.
      {"SYSTEMD_NSPAWN_LOCK", "0"},
  };
  if (launch.own_network) env["SYSTEMD_NSPAWN_API_VFS_WRITABLE"] = "network";
  if (!config.nspawn.toplevel.empty()) env["SYSTEMD_NSPAWN_CHECK_OS_RELEASE"] = "0";
  return env;
}

}  // namespace attest::nspawn
