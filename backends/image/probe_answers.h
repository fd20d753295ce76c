// What a probe of this host has found, kept until the host boots again: a probe boots a guest.
#pragma once
#include <filesystem>
#include <functional>
#include <string>

namespace attest::image {

/// Which file exactly: path, size, time of change, inode. A rebuilt or upgraded one is probed
/// again.
std::string file_identity(const std::filesystem::path& file);

/// The answer of `probe` to `question`, whose lines (each with its end) say all that the answer
/// depends on. Asked once in a process and once per boot of the host: between processes it is kept
/// in cache_dir()/`folder`, where that can be written. Blocks as long as `probe` does; safe from
/// several threads, which share one probe at a time.
std::string probe_once(const std::string& folder, const std::string& question,
                       const std::function<std::string()>& probe);

}  // namespace attest::image
