// Boots a kernel under KVM far enough to know that this host's KVM runs guests.
#pragma once
#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>

namespace attest::qemu {

/// True if serial output shows that the kernel has come to the end of its own start: it looks for
/// a root file system, which the probe does not give it. Pure.
bool kernel_came_up(std::string_view serial);

/// Boots `kernel` with KVM and no root, at most for `limit`. "" if it came up, else why not. Blocks
/// the calling thread; leaves nothing running.
std::string probe_kvm(const std::string& qemu, const std::filesystem::path& kernel,
                      std::chrono::milliseconds limit = std::chrono::milliseconds(2500));

}  // namespace attest::qemu
