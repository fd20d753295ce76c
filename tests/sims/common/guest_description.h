// The machine behind a stand-in monitor, as a value.
#pragma once
#include "lib/base/fd.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace attest::sims {

/// Bytes and operations a second; 0 is no limit.
struct GuestRate {
  std::uint64_t bytes_s = 0;
  std::uint64_t ops_s = 0;
};

struct GuestDrive {
  std::string id;                ///< letters, digits, '_'; of the device
  std::string path;              ///< what is opened, unless there is `fd`
  std::shared_ptr<base::Fd> fd;  ///< open already, in the right mode
  bool read_only = false;
  bool locked = false;         ///< QEMU's image locks: a second writer fails
  std::string format = "raw";  ///< or "qcow2"
  std::string serial;
  GuestRate rate;
};

struct GuestNic {
  std::string id;
  std::string mac;                ///< "" is QEMU's choice
  std::shared_ptr<base::Fd> tap;  ///< /dev/net/tun after TUNSETIFF; with or without IFF_VNET_HDR
  int mtu = 0;                    ///< to tell the guest; 0: none
};

/// Memory of a file in the guest, as an NVDIMM (/dev/pmem0, ...): needs q35.
struct GuestPmem {
  std::string id;
  std::string path;  ///< its size is rounded down to 2 MiB
  bool read_only = true;
};

/// A way for bytes between the host and a program in the guest.
struct GuestChannel {
  std::string name;     ///< of the virtio-serial port; "" is the console hvc0
  std::string chardev;  ///< its id: "agent", "shell"
};

struct GuestDescription {
  std::string name = "sim";  ///< in the process list
  std::string qemu = "qemu-system-x86_64";
  bool q35 = false;  ///< else microvm with ACPI, and all devices on virtio-mmio
  int memory_mb = 128;
  int vcpus = 1;
  int max_vcpus = 0;               ///< q35 only; 0: vcpus
  int hotplug_memory_mb = 0;       ///< q35 only: room for plug_memory()
  std::vector<int> dimms_mb;       ///< plugged so far; part of a saved machine's description
  bool reboots = false;            ///< a guest's reset starts it again; else it is its end
  std::string kernel, initrd;      ///< kernel: ELF with a PVH note, or bzImage
  std::string cmdline;             ///< `tsc_early_khz=` is added; reboot=k becomes t on microvm
  std::vector<GuestDrive> drives;  ///< /dev/vda, ...
  std::vector<GuestNic> nics;      ///< eth0, ...
  std::vector<GuestPmem> pmem;
  std::vector<std::string> smbios;  ///< strings of type 11; q35 only
  bool entropy = false;             ///< virtio-rng
  bool balloon = false;             ///< virtio-balloon
  bool balloon_deflates = true;     ///< the guest may take memory back instead of killing a process
  bool pvpanic = false;             ///< q35 only: panics are told
  std::vector<GuestChannel> channels;
};

/// The ports that the stand-in's vsock carries: the agent on 1024, the backdoor's shell on 1234.
std::vector<GuestChannel> vsock_channels();

}  // namespace attest::sims
