// Just enough of the qcow2 format to make an empty overlay without running qemu-img: it is written
// into a file that has no name, which QEMU inherits, so nothing is left behind however a test ends.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace attest::qemu {

/// The bytes of an empty qcow2 image of `size` bytes on top of `backing_file` (an absolute path)
/// of `backing_format`. Throws Error{usage} if the name or the size does not fit.
std::string qcow2_overlay(const std::string& backing_file, const std::string& backing_format,
                          std::uint64_t size);

/// The size of the disk in a qcow2 image that starts with `header`; nullopt if it is not one.
std::optional<std::uint64_t> qcow2_size(std::string_view header);

}  // namespace attest::qemu
