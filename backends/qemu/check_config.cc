// What of a config the QEMU backend cannot do. Apart from command_line.cc only for its length.
#include "attest/error.h"
#include "backends/qemu/command_line.h"

namespace attest::qemu {
namespace {

using Kind = Error::Kind;

// QEMU's limit for the name of a fw_cfg file is 55 bytes.
constexpr std::size_t longest_fw_cfg_credential =
    55 - std::string_view("opt/io.systemd.credentials/").size();

[[noreturn]] void refuse(Kind kind, const std::string& machine, const std::string& what,
                         const std::string& hint) {
  throw Error(kind, "machine '" + machine + "' (qemu): " + what).hint(hint);
}

void check_start_script(const std::string& machine, const MachineConfig& config) {
  auto with_script = [&](const char* key, const char* instead) {
    refuse(Kind::unsupported, machine,
           std::string("'") + key + "' cannot be given to a start_script", instead);
  };
  if (!config.kernel.empty() || !config.initrd.empty() || !config.image.empty())
    with_script("kernel, initrd and image",
                "the script boots what it was built with; remove one of them");
  if (!config.cmdline.empty()) with_script("cmdline", "set the NixOS option boot.kernelParams");
  if (!config.files.empty())
    with_script("files",
                "use environment.etc in NixOS, or write them with a command after the boot");
  if (!config.disks.empty())
    with_script("disks",
                "set virtualisation.emptyDiskImages or virtualisation.qemu.drives in NixOS");
  if (!config.firmware.empty()) with_script("firmware", "set virtualisation.useEFIBoot in NixOS");
  if (config.debug_boot) with_script("debug_boot", "set boot.kernelParams in NixOS");
  if (config.internet)
    with_script("internet", "it has the cards that it was built with; boot an image instead");
}

// They would be there for a moment only, and nobody would be told.
void check_file(const std::string& machine, const std::string& path) {
  for (std::string_view top : {"/dev/", "/proc/", "/run/", "/sys/", "/tmp/"})
    if (path.starts_with(top))
      refuse(Kind::unsupported, machine,
             "'files' cannot be in " + std::string(top.substr(0, top.size() - 1)) + " (here '" +
                 path + "'), which the guest covers or empties while it boots",
             "choose another directory, or write it with a command after the boot");
}

}  // namespace

void check_config(const std::string& machine, const MachineConfig& config) {
  if (!config.network.empty())
    refuse(Kind::unsupported, machine,
           "'network' (here '" + config.network + "') is a key of the nspawn backend",
           "use 'vlans' to join networks");
  if (!config.start_script.empty()) return check_start_script(machine, config);

  if (config.kernel.empty() && !config.initrd.empty())
    refuse(Kind::usage, machine, "'initrd' is given without 'kernel'", "give both, or an image");
  if (config.memory_mb < 1 || config.vcpus < 1)
    refuse(Kind::usage, machine, "'memory_mb' and 'vcpus' must be at least 1",
           "leave them out for the defaults");
  for (auto& file : config.files) check_file(machine, file.to);
  for (auto& [name, value] : config.credentials)
    if (is_microvm(config) && name.size() > longest_fw_cfg_credential)
      refuse(Kind::unsupported, machine,
             "the name of the credential '" + name + "' has more than " +
                 std::to_string(longest_fw_cfg_credential) + " bytes, which fw_cfg cannot carry",
             "use a shorter name, or the q35 machine type");
  if (is_microvm(config) && config.graphics)
    refuse(Kind::unsupported, machine,
           "'graphics' needs PCI, which the microvm machine type has not",
           "use the q35 machine type for this machine");
}

}  // namespace attest::qemu
