// Running a nixpkgs-built run-<name>-vm: the environment and the appended arguments that nixpkgs'
// own driver gives it (facts: nixpkgs' machine/__init__.py), as pure functions.
#pragma once
#include "attest/backend.h"
#include "backends/qemu/command_line.h"

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace attest::qemu {

/// Directories and sockets of one such machine.
struct ScriptLaunch {
  std::filesystem::path socket_dir;  ///< short: a socket's path has 107 bytes at most
  std::filesystem::path state_dir;   ///< its working directory: disk images, xchg/
  std::filesystem::path shared_dir;  ///< /tmp/shared in every machine
  bool kvm = false;
  std::vector<std::pair<std::string, std::filesystem::path>>
      credentials;  ///< as in Launch, for SMBIOS
};

/// Where QEMU connects to, as a client; the driver listens there before it starts the script.
std::filesystem::path shell_socket(const ScriptLaunch& launch);
std::filesystem::path qmp_socket(const ScriptLaunch& launch);
std::filesystem::path agent_socket(const ScriptLaunch& launch);  ///< unless qemu.agent is off

/// The script and what is appended to it; it passes "$@" on to QEMU. The serial port is on the
/// script's stdin and stdout.
std::vector<std::string> script_command(const MachineConfig& config, const ScriptLaunch& launch);

/// What is set on top of our environment. Throws Error{host} for a VLAN without a vde switch.
std::map<std::string, std::string> script_environment(
    const std::string& machine, const ScriptLaunch& launch,
    const std::vector<NetworkAttachment>& network);

/// The kernel that such a script boots, from its text; "" if it cannot be seen.
std::string kernel_of_script(std::string_view text);

}  // namespace attest::qemu
