// The container's own directory in the cgroup v2 hierarchy, below the cgroup that this process is
// in. What is in it is what belongs to the container; removing it is the last step of an end.
#pragma once
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace attest::nspawn {

/// Where this process is in the cgroup v2 hierarchy, as a directory: from the text of
/// /proc/self/mountinfo and /proc/self/cgroup. nullopt where no cgroup v2 is mounted, or it shows
/// another part of the hierarchy. Pure.
std::optional<std::filesystem::path> own_cgroup(std::string_view mountinfo,
                                                std::string_view cgroups);
/// The same, of this process.
std::optional<std::filesystem::path> own_cgroup();

/// Owns one directory.
class Cgroup {
 public:
  /// Makes `path`, or takes what somebody has made there for us. Throws Error{host}.
  explicit Cgroup(std::filesystem::path path);
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;
  /// Kills all that is in it and below, waits until that is gone (some milliseconds), and removes
  /// the directories.
  ~Cgroup();

  const std::filesystem::path& path() const noexcept { return path_; }
  /// Sets a limit on memory. False if the host does not hand that controller on.
  bool limit_memory(int mib) noexcept;

 private:
  std::filesystem::path path_;
};

}  // namespace attest::nspawn
