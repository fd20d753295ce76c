// What a microVM boots: the kernel in the form that its monitor takes, the initrd with the seed,
// the kernel's command line, the disks.
#pragma once
#include "attest/backend.h"
#include "backends/image/image.h"
#include "backends/microvm/drives.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace attest::microvm {

/// The forms of an x86 Linux kernel.
enum class KernelForm { elf, bz_image };
/// Of a file that starts with `head` (its first 4 KiB) and has `size` bytes. Pure. Throws
/// Error{usage} for what is neither, or cut short; the message goes on after the file's name: "is
/// empty".
KernelForm kernel_form(std::string_view head, std::uint64_t size);

/// What does not change from one boot of a machine to the next.
struct Parts {
  std::optional<image::Image> image;  ///< none for a kernel by hand
  std::filesystem::path kernel;       ///< absolute
  std::filesystem::path initrd;       ///< without seed; empty: none
  Drives drives;
  bool agent_greets = false;  ///< its own attest-agent answers; else the backdoor shell
};

/// What the monitor is like.
struct PartsOptions {
  std::string backend;         ///< "firecracker"
  bool agent = true;           ///< the config wants attest-agent
  bool takes_bz_image = true;  ///< else the kernel must be an ELF file
  std::string bz_image_since;  ///< for the message: "1.17"
};

/// Finds kernel and image and looks at the disks; Drives::make() must follow before a boot. Throws
/// Error{usage, unsupported} for a config that cannot be run, Error{host}.
Parts find_parts(const BackendContext& context, const PartsOptions& options);

/// The initrd with the seed behind it, written into the work directory, or the initrd itself if
/// there is nothing to add. Credentials go along where the image takes seed files. Throws
/// Error{usage, host}.
std::filesystem::path initrd_with_seed(const BackendContext& context, const Parts& parts);

/// The kernel's command line: console, what `own` says (the monitor's needs), what the image wants,
/// debug_boot, the config's. Pure.
std::string kernel_arguments(const MachineConfig& config, const std::string& image_cmdline,
                             const std::vector<std::string>& own);

/// Throws Error{usage, unsupported} for keys of the config that no microVM backend can honour
/// (firmware, graphics, start_script, network, files where they would vanish, ...), naming the key
/// and what to use instead. The monitor's own keys are left to the caller.
void check_common_config(const std::string& machine, const MachineConfig& config,
                         const std::string& backend);

}  // namespace attest::microvm
