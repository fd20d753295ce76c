// The part of a container's root that is its own: what overlayfs lays over the image's tree. Seed
// files are put there before the start.
#pragma once
#include "attest/backend.h"

#include <filesystem>
#include <string>
#include <vector>

namespace attest::nspawn {

/// Where `path` (absolute, in the machine) really lies in `tree`, without the leading slash: the
/// tree's symbolic links on the way are followed, as the machine would ("/bin/x" is "usr/bin/x").
/// The last part is not. Throws Error{usage} for a path that is not absolute or has a '..', and for
/// links without end.
std::filesystem::path place_in(const std::filesystem::path& tree, const std::string& path);

/// Writes `files` below `upper`, with their modes. Directories that the tree has too get its modes
/// and owners, since the upper one is what the machine sees. Throws Error{usage, host}.
void write_seed(const std::filesystem::path& tree, const std::filesystem::path& upper,
                const std::vector<SeedFile>& files);

}  // namespace attest::nspawn
