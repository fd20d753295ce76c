// Whole small files: read, write, and the temporary directory.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace attest::base {

/// The whole file as bytes. Throws Error{host} naming the path.
std::string read_file(const std::filesystem::path& path);
/// Like read_file(), but a file that is not there (or cannot be opened) is nullopt.
std::optional<std::string> try_read_file(const std::filesystem::path& path);
/// Creates or replaces `path`. Throws Error{host}; no partial file is left under that name.
void write_file(const std::filesystem::path& path, std::string_view bytes);
/// One write(2) to an existing file (as /proc wants it). Throws Error{host}.
void write_once(const std::filesystem::path& path, std::string_view bytes);

/// A directory that is removed with everything in it at destruction.
class TempDir {
 public:
  /// Makes `<parent>/<prefix>XXXXXX`, mode 0700. Throws Error{host}.
  explicit TempDir(const std::string& prefix = "attest-",
                   const std::filesystem::path& parent = std::filesystem::temp_directory_path());
  TempDir(TempDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TempDir& operator=(TempDir&&) = delete;
  ~TempDir();
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace attest::base
