// A look at a kernel file before QEMU gets it: with an empty or cut one QEMU would hang or fail
// with a message that does not name it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace attest::qemu {

/// What is wrong with a kernel of `size` bytes that starts with `head` (its first 4 KiB), for an
/// x86 machine; "" if nothing can be seen. Pure.
std::string kernel_problem(std::string_view head, std::uint64_t size);

/// Throws Error{usage} naming `kernel` if it is missing, empty, cut short, or no x86 kernel.
void check_kernel(const std::filesystem::path& kernel);

}  // namespace attest::qemu
