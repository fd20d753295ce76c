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
  unsigned tsc_khz = 0;                         ///< the host's TSC, 0 if not known
  int qmp_fd = 3, shell_fd = 4, serial_fd = 5;  ///< connected sockets
};

/// True for QEMU's microvm machine type: virtio-mmio devices, no PCI, no SMBIOS.
bool is_microvm(const MachineConfig& config);

/// The arguments, the program first. Pure; the config has passed check_config().
std::vector<std::string> command_line(const MachineConfig& config, const Launch& launch,
                                      const std::vector<NetworkAttachment>& network);

/// A value inside an option such as "file=<value>,format=raw": QEMU wants commas doubled.
std::string escaped(const std::string& value);

/// Throws Error for keys that this backend cannot honour, naming the key and what to use instead.
/// Nothing that was asked for is ignored in silence.
void check_config(const std::string& machine, const MachineConfig& config);

}  // namespace attest::qemu
