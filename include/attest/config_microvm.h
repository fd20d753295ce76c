// Options of the microVM monitors, Firecracker and Cloud Hypervisor: the part of config.h that only
// they have. Every field has a JSON key of the same name. What a version of a monitor lacks is
// refused at the boot, naming the version that has it.
#pragma once
#include <string>
#include <vector>

namespace attest {

/// How much may pass a device in each second; 0: as much as it can.
struct RateLimit {
  int bandwidth_kb_s = 0;  ///< KiB in a second
  int ops_s = 0;           ///< operations (packets, for a network card) in a second
  bool operator==(const RateLimit&) const = default;
};

/// A file of the host that the guest sees as persistent memory: /dev/pmem0, /dev/pmem1, ...
/// Machines share its pages in the host's cache. In JSON an object, or just the path.
struct PmemConfig {
  std::string path;       ///< an existing file; its size is a multiple of 2 MiB
  bool read_only = true;  ///< false: what the guest writes goes to the file itself
  bool operator==(const PmemConfig&) const = default;
};

/// A device that takes memory back from the guest.
struct BalloonConfig {
  bool enabled = false;
  int amount_mb = 0;           ///< how much it takes at the boot, MiB
  bool deflate_on_oom = true;  ///< gives it back before the guest kills processes
  bool operator==(const BalloonConfig&) const = default;
};

/// Options of the Firecracker backend.
struct FirecrackerConfig {
  /// Name on PATH, or a path; with the default, $ATTEST_FIRECRACKER where that is set.
  std::string binary{"firecracker"};
  bool agent = true;        ///< false: only the backdoor shell, on vsock port 1234
  std::string io_engine;    ///< of disks: "Sync" or "Async" (io_uring); empty: the monitor's
  std::string cache_type;   ///< of disks: "Unsafe" or "Writeback"; empty: the monitor's
  std::string huge_pages;   ///< "None", "2M", or from 1.17 on "Transparent"; empty: none
  bool enable_pci = false;  ///< virtio devices on PCI instead of MMIO (from 1.13 on)
  bool smt = false;         ///< pairs of vcpus are one core's threads
  bool track_dirty_pages = false;
  std::string cpu_template;       ///< as Firecracker names them: "T2", ...; empty: none
  bool entropy = true;            ///< a virtio-rng
  std::string log_level{"Info"};  ///< of the log that failures quote: Error, Warning, Info, Debug
  RateLimit drive_rate;           ///< of each disk
  RateLimit network_rate;         ///< of each network card, in each direction
  BalloonConfig balloon;
  std::vector<PmemConfig> pmem_devices;  ///< from 1.14 on
  std::string snapshot_path;             ///< directory of a snapshot: every boot restores it
  bool operator==(const FirecrackerConfig&) const = default;
};

/// Options of the Cloud Hypervisor backend.
struct CloudHypervisorConfig {
  /// Name on PATH, or a path; with the default, $ATTEST_CLOUD_HYPERVISOR where that is set.
  std::string binary{"cloud-hypervisor"};
  bool agent = true;             ///< false: only the backdoor shell, on vsock port 1234
  std::string serial{"socket"};  ///< what carries its console to us: "socket" or "file"
  std::string tap{"fd"};         ///< how it gets its TAPs: "fd", or "name"
  bool huge_pages = false;       ///< memory out of the host's pool of huge pages
  int huge_page_size_kb = 0;     ///< their size, KiB; 0: the host's default
  bool thp = true;               ///< let the host use transparent huge pages
  bool landlock = false;         ///< the monitor may open nothing but what the config names
  int max_vcpus = 0;             ///< the most that Machine::resize() can give; 0: `vcpus`
  int max_memory_mb = 0;         ///< the same of memory, MiB; 0: `memory_mb`
  RateLimit drive_rate;          ///< of each disk
  RateLimit network_rate;        ///< of each network card
  BalloonConfig balloon;
  std::vector<PmemConfig> pmem_devices;
  /// How a snapshot's memory comes back: "copy" (all of it is read first), "on_demand" (from 52 on,
  /// by userfaultfd), "map" (the file is mapped; for machines that were booted with "map"), or
  /// "auto": on_demand where this host allows it, else copy.
  std::string restore{"auto"};
  std::string snapshot_path;  ///< directory of a snapshot: every boot restores it
  bool operator==(const CloudHypervisorConfig&) const = default;
};

}  // namespace attest
