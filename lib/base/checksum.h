// Checksums of files: whether a file is still what it was. Not a defence against people.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace attest::base {

/// What a file was, for a later comparison.
struct FileIdentity {
  std::uint64_t size = 0;  ///< bytes
  std::string checksum;    ///< XXH3 of 128 bits, 32 hex digits
  bool operator==(const FileIdentity&) const = default;
};

/// Of bytes in memory.
std::string checksum(std::string_view bytes);

/// Reads the whole file; holes cost nothing, and are the same as zeros, so that a copy is the same
/// whether it is sparse or not. Blocks: about 0.1 s for 1 GB that is in the host's cache. What this
/// process has read once, later than a moment after it was written, is not read again while its
/// size, times and inode stay. Any thread. Throws Error{host} naming the file.
FileIdentity identify(const std::filesystem::path& file);

}  // namespace attest::base
