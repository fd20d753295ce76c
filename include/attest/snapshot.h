// Snapshots made ahead of the tests that start from them, as the program attest-snapshot makes
// them.
#pragma once
#include "attest/config.h"

#include <filesystem>
#include <string>

namespace attest {

/// For build_snapshot().
struct SnapshotRequest {
  std::string machine;  ///< its name in the config; may be empty if there is only one
  /// The unit that must be active before it is saved; empty: nothing but the config's `ready`.
  std::string unit{"multi-user.target"};
  std::filesystem::path directory;  ///< what is made; must not be there, or be empty
};

/// Boots the machine (the others of the config stay off), waits for the unit, and saves it as
/// `directory`. Tests whose config says `snapshot_path` then start from it instead of booting:
///     attest::build_snapshot(config, {.machine = "web", .directory = "web.snapshot"});
/// In a program of your own call enter_sandbox() first. Blocks until it is done, within the
/// config's timeouts. Throws what Machine's calls throw; Error{unsupported} where the backend has
/// no snapshots or this host cannot run it. Nothing is left in `directory` then.
void build_snapshot(Config config, const SnapshotRequest& request);

}  // namespace attest
