// QEMU's command line as a pure function of the config and of what the host has prepared, so that
// golden files (tests/golden/qemu) show it for every kind of machine.
#pragma once
#include "attest/backend.h"

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace attest::qemu {

/// One disk as QEMU will see it.
struct Disk {
  std::string file;    ///< a path, or "/dev/fdset/N"
  std::string format;  ///< "raw" or "qcow2"
  bool read_only = false;
};

/// Everything that is not in the config: resolved paths, and descriptors by the number that QEMU
/// inherits.
struct Launch {
  std::string machine;                   ///< its name
  bool kvm = false;                      ///< else TCG
  std::filesystem::path kernel, initrd;  ///< empty: firmware boots from a disk
  std::string cmdline;                   ///< what the image wants on the kernel command line
  std::vector<Disk> disks;               ///< the root first
  std::vector<int> fd_sets;              ///< inherited files; fd N is "/dev/fdset/N"
  /// systemd credentials: name and file. The file holds the value, or for SMBIOS the whole string.
  std::vector<std::pair<std::string, std::filesystem::path>> credentials;
  unsigned tsc_khz = 0;  ///< the host's TSC, 0 if not known
  bool shell = true;     ///< a virtio console for the backdoor shell
  bool agent = true;     ///< a virtio port for attest-agent
  int share_slots = 0;   ///< directories that can be shared while it runs; 0: no shared memory
  int qmp_fd = 3, shell_fd = 4, serial_fd = 5, agent_fd = 6;  ///< connected sockets
  int first_tap_fd = 40;  ///< NIC i, from 0, that is an interface has the TAP first_tap_fd + i
};

/// True for QEMU's microvm machine type: virtio-mmio devices, no PCI, no SMBIOS.
bool is_microvm(const MachineConfig& config);

/// The arguments, the program first. Pure; the config has passed check_config().
std::vector<std::string> command_line(const MachineConfig& config, const Launch& launch,
                                      const std::vector<NetworkAttachment>& network);

/// QEMU's name for NIC `index`, from 0: by its ordinal, as in nixpkgs.
std::string nic_id(std::size_t index);

/// True if directories can be shared with such a machine while it runs: it has slots to plug a
/// device into, and its memory is ours to define.
bool can_share(const MachineConfig& config);

/// The id of the slot, from 0, that such a device is plugged into.
std::string share_slot(int index);

/// The name by which the guest finds attest-agent's port.
inline constexpr const char* agent_port_name = "org.attest.agent.0";

/// A value inside an option such as "file=<value>,format=raw": QEMU wants commas doubled.
std::string escaped(const std::string& value);

/// Throws Error for keys that this backend cannot honour, naming the key and what to use instead.
/// Nothing that was asked for is ignored in silence.
void check_config(const std::string& machine, const MachineConfig& config);

}  // namespace attest::qemu
