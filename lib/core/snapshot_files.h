// The directory of a snapshot on the host: made whole or not at all, and looked at before anything
// is started from it.
#pragma once
#include "attest/backend.h"
#include "lib/base/fd.h"
#include "lib/core/manifest_json.h"

#include <filesystem>
#include <string>

namespace attest::core {

/// The directory that the machine's config has it start from; "" for a machine that boots.
std::filesystem::path snapshot_path(const MachineConfig& config);

/// A snapshot in the making: a directory beside the one that is wanted, which takes its name when
/// it is complete, and is removed if it never is: by this, or by the next one of that name if this
/// process is killed.
class SnapshotDir {
 public:
  /// Makes nothing yet. Throws Error{usage} if `wanted` is there and not an empty directory.
  explicit SnapshotDir(std::filesystem::path wanted);
  SnapshotDir(const SnapshotDir&) = delete;
  SnapshotDir& operator=(const SnapshotDir&) = delete;
  ~SnapshotDir();

  /// Makes the directory beside. Throws Error{host}.
  void make();
  /// Of what make() has made.
  const std::filesystem::path& path() const noexcept { return made_; }
  /// Throws Error{host}.
  void publish();

 private:
  std::filesystem::path wanted_, made_;
  base::Fd lock_;
};

/// The parts of a manifest that come from the host's files: programs, disks and the CPU. Blocks
/// while it reads them. Throws Error{host}.
void add_facts(Manifest& manifest, const SnapshotFacts& facts);
/// The files that are in `dir`, but for a manifest. Blocks while it reads them. Throws Error{host}.
Identities files_in(const std::filesystem::path& dir);

/// Reads the manifest of `dir`. Throws Error{usage} if there is none.
Manifest read_manifest(const std::filesystem::path& dir);
/// Blocks while it reads the files. Throws Error{usage} naming each file that is missing, has
/// another length, or another content than when it was saved.
void check_files(const Manifest& manifest, const std::filesystem::path& dir);

}  // namespace attest::core
