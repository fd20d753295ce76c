// What of a config a running host cannot honour.
#include "attest/error.h"
#include "backends/ssh/connect.h"
#include "backends/ssh/ssh.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace attest::ssh {
namespace {

// These names become words of a proxy_command, and of lines in known_hosts.
void check_name(const std::string& key, const std::string& value, std::string_view also) {
  auto allowed = [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           also.find(c) != also.npos;
  };
  if (!value.starts_with('-') && std::all_of(value.begin(), value.end(), allowed)) return;
  throw Error(Error::Kind::usage, key + ": expected letters, digits and " + std::string(also) +
                                      ", not beginning with '-', got '" + value + "'");
}

}  // namespace

void check_config(const std::string& machine, const MachineConfig& config) {
  using Kind = Error::Kind;
  const auto& options = config.ssh;
  if (options.host.empty())
    throw Error(Kind::usage, "machines." + machine + ".ssh.host is not set")
        .hint("set it to the name or address of a host that is up");
  check_name("machines." + machine + ".ssh.host", options.host, "._:%-");
  check_name("machines." + machine + ".ssh.user", options.user, "._@+-");
  const std::pair<const char*, bool> asked[] = {
      {"image", !config.image.empty()},
      {"kernel", !config.kernel.empty()},
      {"initrd", !config.initrd.empty()},
      {"cmdline", !config.cmdline.empty()},
      {"start_script", !config.start_script.empty()},
      {"firmware", !config.firmware.empty()},
      {"network", !config.network.empty()},
      {"disks", !config.disks.empty()},
      {"credentials", !config.credentials.empty()},
      {"extra_args", !config.extra_args.empty()},
      {"graphics", config.graphics},
      {"debug_boot", config.debug_boot},
      {"keep_machine_state", config.keep_machine_state},
      {"internet", config.internet},
  };
  for (auto& [key, given] : asked)
    if (given)
      throw Error(Kind::unsupported,
                  "machines." + machine + "." + key +
                      ": a host that is reached over SSH is up already, and is as it is")
          .hint("remove the key, or use backend qemu");
  if (!options.proxy_command.empty()) expand_proxy(options);
  if (!options.fingerprint.empty() && !options.fingerprint.starts_with("SHA256:"))
    throw Error(Kind::usage, "machines." + machine +
                                 ".ssh.fingerprint: expected 'SHA256:...' as ssh-keygen -l "
                                 "prints it, got '" +
                                 options.fingerprint + "'");
}

}  // namespace attest::ssh
