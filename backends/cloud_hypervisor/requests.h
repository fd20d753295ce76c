// What Cloud Hypervisor is told, as pure functions of the config and of what the host has prepared,
// so that golden files (tests/golden/cloud_hypervisor) show it for each version.
#pragma once
#include "attest/backend.h"
#include "backends/microvm/api.h"
#include "backends/microvm/drives.h"
#include "backends/microvm/monitor_program.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace attest::cloud_hypervisor {

using microvm::Request;
using microvm::Version;

// Files in the machine's work directory.
inline constexpr const char* api_socket = "api.sock";
inline constexpr const char* vsock_socket = "vsock";
inline constexpr const char* serial_socket = "serial.sock";
inline constexpr const char* serial_fifo = "serial";
inline constexpr const char* log_file = "cloud-hypervisor.log";
inline constexpr const char* memory_file = "memory";  ///< also in snapshots

// Descriptors that the monitor inherits.
inline constexpr int api_fd = 3;    ///< a listening socket: connecting works from the start
inline constexpr int event_fd = 4;  ///< a pipe for its events

/// The oldest release that this backend speaks to.
inline constexpr Version oldest{46, 0, 0};
/// From here on memory can come back page by page, and guests learn that their vsock connections
/// have ended with the restore.
inline constexpr Version with_on_demand{52, 0, 0};

/// How a snapshot's memory comes back.
enum class MemoryMode { copy, on_demand, map };
/// "copied", "on demand", "mapped".
std::string words(MemoryMode mode);

/// Everything that is not in the config. Paths are absolute.
struct Launch {
  std::string program;
  Version version;
  std::filesystem::path work_dir;
  std::filesystem::path kernel, initrd;  ///< no initrd: empty
  std::string cmdline;                   ///< the kernel's, whole
  std::vector<microvm::Drive> drives;    ///< the root first
};

/// The arguments, the program first.
std::vector<std::string> command_line(const MachineConfig& config, const Launch& launch);

/// One request, and whose TAP's descriptor goes along with it.
struct Call {
  Request request;
  std::vector<std::size_t> nics = {};  ///< places in the network list
};
/// The machine without its cards: descriptors cannot come with this one.
Request create_request(const MachineConfig& config, const Launch& launch);
/// One call for each card.
std::vector<Call> nic_calls(const MachineConfig& config,
                            const std::vector<NetworkAttachment>& network);
/// A call without a body: "vm.boot", "vm.pause", "vm.resume", "vm.power-button", "vmm.shutdown".
Request simple_request(const std::string& name);
Request ping_request();
/// `dir` exists.
Request save_request(const std::filesystem::path& dir);
/// Goes on, standing still, from `dir`, whose config.json is what restored_config() has made.
Call restore_call(const MachineConfig& config, const Launch& launch,
                  const std::filesystem::path& dir, MemoryMode mode,
                  const std::vector<NetworkAttachment>& network);
/// What is not given stays as it is.
Request resize_request(std::optional<int> vcpus, std::optional<int> memory_mb);

/// A snapshot's config.json, made that of one clone.
struct RestoredConfig {
  std::string json;
  MemoryMode mode = MemoryMode::copy;
  int memory_mb = 0;  ///< what the guest has
};
/// `saved` is the text of `dir`/config.json; `wanted` what to use if the snapshot leaves the
/// choice: one that has its memory as a file is always mapped. Throws Error{usage} if it is no such
/// text, has other disks or cards than this machine, or cannot be mapped as `wanted` says.
RestoredConfig restored_config(const std::string& saved, const std::filesystem::path& dir,
                               const MachineConfig& config, const Launch& launch,
                               const std::vector<NetworkAttachment>& network, MemoryMode wanted);

/// True if the machine's memory is a file of the work directory, so that its snapshots can be
/// mapped.
bool memory_is_file(const MachineConfig& config);
/// A card's id in requests and snapshots: "net1".
std::string nic_id(std::size_t index);

/// Throws Error for keys that this backend cannot honour, naming the key and what to use instead.
/// Nothing that was asked for is ignored in silence.
void check_config(const std::string& machine, const MachineConfig& config);
/// Throws Error{unsupported} naming both versions for what this version lacks.
void check_version(const std::string& machine, const MachineConfig& config, const Version& version);
/// Throws Error{usage} for a resize() beyond what the config allows; `memory_mb_now` is what the
/// guest has.
void check_resize(const MachineConfig& config, int memory_mb_now, std::optional<int> vcpus,
                  std::optional<int> memory_mb);

}  // namespace attest::cloud_hypervisor
