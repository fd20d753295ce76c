// What Firecracker is told, as pure functions of the config and of what the host has prepared, so
// that golden files (tests/golden/firecracker) show it for each version.
#pragma once
#include "attest/backend.h"
#include "backends/microvm/api.h"
#include "backends/microvm/drives.h"
#include "backends/microvm/monitor_program.h"

#include <filesystem>
#include <string>
#include <vector>

namespace attest::firecracker {

using microvm::Request;
using microvm::Version;

// Files in the work directory, which is the monitor's current one: relative names are what a
// snapshot keeps, so each clone finds its own.
inline constexpr const char* api_socket = "api.sock";
inline constexpr const char* vsock_socket = "vsock";
inline constexpr const char* console_fifo = "console";
inline constexpr const char* log_file = "firecracker.log";
inline constexpr const char* metrics_file = "firecracker.metrics";

/// The oldest release that this backend speaks to.
inline constexpr Version oldest{1, 10, 0};
/// From here on PUT /serial sends the console to a FIFO; before, it is on stdout.
bool has_serial(const Version& version);

/// Everything that is not in the config.
struct Launch {
  std::string program;                 ///< its path
  std::string machine;                 ///< its name
  Version version;                     ///< of the program
  std::filesystem::path kernel;        ///< absolute
  std::filesystem::path initrd;        ///< absolute; empty: none
  std::string cmdline;                 ///< the kernel's, whole
  std::vector<microvm::Drive> drives;  ///< the root first; those that are written to by their names
                                       ///< in the work directory
};

/// The arguments, the program first.
std::vector<std::string> command_line(const MachineConfig& config, const Launch& launch);
/// From a fresh monitor to a guest that runs, in their order.
std::vector<Request> boot_requests(const MachineConfig& config, const Launch& launch,
                                   const std::vector<NetworkAttachment>& network);
/// From a fresh monitor to a guest that stands still where it was saved, in `dir`.
std::vector<Request> load_requests(const Launch& launch, const std::filesystem::path& dir,
                                   const std::vector<NetworkAttachment>& network);
/// Saves the guest, which stands still, into `dir`.
Request save_request(const std::filesystem::path& dir);
Request pause_request();
Request resume_request();
Request ctrl_alt_del_request();
/// The file that a probe of this host boots by --config-file.
std::string probe_config(const std::filesystem::path& kernel);

/// What a snapshot consists of, beside its disks.
inline constexpr const char* state_file = "state";
inline constexpr const char* memory_file = "memory";

/// Throws Error for keys that this backend cannot honour, naming the key and what to use instead.
/// Nothing that was asked for is ignored in silence.
void check_config(const std::string& machine, const MachineConfig& config);
/// Throws Error{unsupported} naming both versions for what this version of Firecracker lacks.
void check_version(const std::string& machine, const MachineConfig& config, const Version& version);

/// What Firecracker's exit code means: 148 is "a system call that its filter forbids"; "" for
/// nothing special.
std::string exit_words(int code);

}  // namespace attest::firecracker
