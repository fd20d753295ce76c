// Whole small files of /proc, /sys and /etc.
#pragma once
#include <cstddef>
#include <optional>
#include <string>

namespace attest::agent {

/// The file's first `limit` bytes; nullopt if it cannot be read, errno says why.
std::optional<std::string> read_small_file(const char* path, std::size_t limit);

}  // namespace attest::agent
