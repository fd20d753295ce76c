#include "attest/error.h"
#include "backends/nspawn/command_line.h"

namespace attest::nspawn {
namespace {

using Kind = Error::Kind;

void check_place(const std::string& key, const std::string& path) {
  for (const char* top : {"/proc", "/sys", "/dev"})
    if (path == "/" || path == top || path.starts_with(std::string(top) + "/"))
      throw Error(Kind::unsupported, key + ": '" + path + "' of a container is the kernel's own")
          .hint("use another path");
}

}  // namespace

void check_config(const std::string& machine, const MachineConfig& config) {
  std::string prefix = "machines." + machine + ".";
  const std::pair<const char*, bool> asked[] = {
      {"kernel", !config.kernel.empty()},
      {"initrd", !config.initrd.empty()},
      {"cmdline", !config.cmdline.empty()},
      {"start_script", !config.start_script.empty()},
      {"firmware", !config.firmware.empty()},
      {"disks", !config.disks.empty()},
      {"keep_machine_state", config.keep_machine_state},
      {"graphics", config.graphics},
  };
  for (auto& [key, given] : asked)
    if (given)
      throw Error(Kind::unsupported, prefix + key +
                                         ": a container runs on the host's kernel and "
                                         "has none")
          .hint("remove the key, or use backend qemu");
  if (!config.nspawn.toplevel.empty() && !config.image.empty())
    throw Error(Kind::usage, prefix +
                                 "image: 'nspawn.toplevel' is given too, and a machine boots "
                                 "one of them")
        .hint("remove one of the two");
  if (!config.network.empty() && config.network != "veth" && config.network != "host" &&
      config.network != "none")
    throw Error(Kind::usage,
                prefix + "network: expected 'veth', 'host' or 'none', got '" + config.network + "'")
        .hint("leave it out for veth");
  if (config.internet && network_of(config) != Network::veth)
    throw Error(Kind::unsupported, prefix + "internet: with 'network' " + config.network +
                                       " a container has no network card of its own")
        .hint("remove one of the two keys");
  for (auto& mount : config.mounts) check_place(prefix + "mounts", mount.guest);
  for (auto& file : config.files) check_place(prefix + "files", file.to);
}

}  // namespace attest::nspawn
