// The directory for sockets and small files of a run: a tmpfs of our own mount namespace, which
// goes with it, or else a locked directory that a later start sweeps if we could not remove it.
#pragma once
#include "lib/base/fd.h"

#include <filesystem>
#include <string>
#include <vector>

namespace attest::sandbox {

/// Where the tmpfs may be mounted, best first: directories that every Linux has, whose content
/// nobody needs in a test, and whose path is short. Change the choice here. Pure.
std::vector<std::string> tmpfs_places();
/// Mounts a tmpfs, mode 0700, on the first of `places` that takes it; "" if none does. Only in a
/// mount namespace of our own.
std::string mount_tmpfs(const std::vector<std::string>& places);

/// Where a locked directory may be made, best first. A long TMPDIR comes last: sockets below it
/// (107 bytes in all) would have no room. Pure.
std::vector<std::string> locked_dir_parents(const std::string& tmpdir);

/// `<parent>/attest-XXXXXX`, mode 0700, held by a lock that the kernel drops when we die,
/// however we die. The destructor removes it, in the process that made it only.
class LockedDir {
 public:
  /// Takes the first parent that works. Throws Error{host} naming them all.
  explicit LockedDir(const std::vector<std::string>& parents);
  LockedDir(const LockedDir&) = delete;
  LockedDir& operator=(const LockedDir&) = delete;
  ~LockedDir();
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
  base::Fd lock_;
  int owner_ = 0;  // pid: a forked child that exits must not remove it
};

/// Removes every locked directory of this user in `parents` whose owner is dead. What cannot
/// be removed is left alone.
void sweep_locked_dirs(const std::vector<std::string>& parents) noexcept;

}  // namespace attest::sandbox
