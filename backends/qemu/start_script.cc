#include "backends/qemu/start_script.h"

#include "attest/error.h"

namespace attest::qemu {

std::filesystem::path shell_socket(const ScriptLaunch& launch) {
  return launch.socket_dir / "shell";
}
std::filesystem::path qmp_socket(const ScriptLaunch& launch) { return launch.socket_dir / "qmp"; }

std::filesystem::path agent_socket(const ScriptLaunch& launch) {
  return launch.socket_dir / "agent";
}

std::vector<std::string> script_command(const MachineConfig& config, const ScriptLaunch& launch) {
  // nixpkgs lets QEMU listen for QMP and polls for the socket; as a client QEMU is never too late.
  std::vector<std::string> words{
      config.start_script,
      "-chardev",
      "socket,id=attest-qmp,path=" + escaped(qmp_socket(launch).string()),
      "-mon",
      "chardev=attest-qmp,mode=control",
      "-chardev",
      "socket,id=shell,path=" + escaped(shell_socket(launch).string()),
      "-device",
      "virtio-serial",
      "-device",
      "virtconsole,chardev=shell"};
  auto add = [&](std::initializer_list<std::string> more) { words.insert(words.end(), more); };
  if (config.qemu.agent)
    add({"-chardev", "socket,id=attest-agent,path=" + escaped(agent_socket(launch).string()),
         "-device", std::string("virtserialport,chardev=attest-agent,name=") + agent_port_name});
  add({"-device", "virtio-rng-pci", "-serial", "stdio"});
  if (!config.allow_reboot) add({"-no-reboot"});
  if (!config.graphics) add({"-nographic"});
  // The script says accel=kvm:tcg and -cpu max: QEMU would take a KVM that hangs, and "max" is
  // unreliable under TCG. Later options win.
  if (!launch.kvm) add({"-machine", "accel=tcg", "-cpu", "qemu64"});
  for (auto& [name, file] : launch.credentials)
    add({"-smbios", "type=11,path=" + escaped(file.string())});
  words.insert(words.end(), config.extra_args.begin(), config.extra_args.end());
  return words;
}

std::map<std::string, std::string> script_environment(
    const std::string& machine, const ScriptLaunch& launch,
    const std::vector<NetworkAttachment>& network) {
  std::map<std::string, std::string> environment{{"TMPDIR", launch.state_dir.string()},
                                                 {"SHARED_DIR", launch.shared_dir.string()},
                                                 {"USE_TMPDIR", "1"}};
  environment["NIX_EFI_VARS"] = (launch.state_dir / (machine + "-efi-vars.fd")).string();
  for (auto& nic : network) {
    if (nic.vde.empty())
      throw Error(Error::Kind::host,
                  "machine '" + machine + "' has a start_script, which reaches VLAN " +
                      std::to_string(nic.vlan) +
                      " only by VDE, and this driver's network has no such socket for it");
    environment["QEMU_VDE_SOCKET_" + std::to_string(nic.vlan)] = nic.vde;
  }
  return environment;
}

std::string kernel_of_script(std::string_view text) {
  constexpr std::string_view option = "-kernel ";
  auto at = text.find(option);
  if (at == std::string_view::npos) return "";
  auto word = text.substr(at + option.size());
  word = word.substr(0, word.find_first_of(" \t\n"));
  // ${NIXPKGS_QEMU_KERNEL_web:-/nix/store/...-system/kernel}
  if (auto fallback = word.find(":-");
      word.starts_with("${") && fallback != std::string_view::npos) {
    word.remove_prefix(fallback + 2);
    word = word.substr(0, word.find('}'));
  }
  if (word.size() >= 2 && word.front() == '"' && word.back() == '"')
    word = word.substr(1, word.size() - 2);
  return word.starts_with('/') ? std::string(word) : "";
}

}  // namespace attest::qemu
