// The monitor as a program: where it is, which version, whether it can run a guest here.
#pragma once
#include "lib/async/net.h"

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace attest::microvm {

/// A released version; ordered by its numbers.
struct Version {
  int major = 0, minor = 0, patch = 0;
  auto operator<=>(const Version&) const = default;
  std::string text() const;  ///< "1.16.1"
};
/// The first version in what --version printed: "Firecracker v1.16.1", "cloud-hypervisor v53.0".
/// Pure.
std::optional<Version> parse_version(std::string_view printed);

/// The program that a config means: $`variable` where `configured` is still the `standard` name and
/// the variable is set.
std::string wanted_program(const std::string& configured, std::string_view standard,
                           const char* variable);
/// Its path; "" if there is none.
std::string find_monitor(const std::string& configured, std::string_view standard,
                         const char* variable);

/// What `program` prints when it is called with `argument` only, on stdout and stderr. Blocks until
/// it ends, 10 s at most. Thread-safe. Throws Error{host}.
std::string ask_program(const std::string& program, const std::string& argument);
/// Runs `program` --version; asked once in a process for one file, then known. Blocks for some
/// milliseconds the first time; safe from several threads. Throws Error{host} quoting what came.
Version monitor_version(const std::string& program);
/// The same for a coroutine.
Task<Version> monitor_version_async(std::string program);

/// Why restores are slow on this host, once in a process, then ""; also where nothing makes them
/// so. With cgroup v1 KVM attaches a thread to each of a machine's cgroups at its first run, which
/// takes tens of milliseconds (documented by Firecracker, docs/prod-host-setup.md and issue 2129).
std::string slow_restore_notice();

/// Makes the command that boots `kernel`, whose console must be on stdout; `dir` is for files.
using ProbeCommand = std::function<std::vector<std::string>(const std::filesystem::path& dir,
                                                            const std::filesystem::path& kernel)>;
/// Why `program` cannot run a guest on this host, "" if it can: a kernel of a few bytes is booted
/// that says so on its console. A /dev/kvm that opens proves nothing. Blocks for up to 5 s, once
/// per boot of the host and program, then the answer is known from a file. Thread-safe.
std::string why_no_guest(const std::string& program, const ProbeCommand& command);
/// That kernel: an ELF file with PVH's note, which also runs when entered in 64-bit mode. It prints
/// `probe_words` on the first serial port, powers off by port 0x600 and resets by port 0x64.
std::string probe_kernel();
inline constexpr std::string_view probe_words = "attest: a guest runs here";

}  // namespace attest::microvm
