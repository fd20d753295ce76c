// Files and directory trees of the host as a TreeSource or a TreeSink: what copies between host and
// guest read and write. Nothing that a guest sends can be written outside of the target: every
// step goes through a directory's descriptor and follows no symlink.
#pragma once
#include "lib/guest/guest.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace attest::guest {

/// Reads the file or directory `from`; a symlink there is followed, those below it are given as
/// they are. Sockets, devices and fifos are left out. Holes of sparse files are kept. Throws
/// Error{host} if it does not exist; its calls throw Error{host} for what cannot be read.
std::unique_ptr<TreeSource> read_tree(std::filesystem::path from);

/// Writes a tree so that its root becomes `to`: a file is replaced (what was there stays until the
/// new one is whole), directories are merged. Makes `to`'s missing parents. Modes are kept, set-id
/// bits only for root; times are kept. Throws Error{host} for what cannot be written; a file that
/// is not whole is removed by the destructor.
std::unique_ptr<TreeSink> write_tree(std::filesystem::path to);

}  // namespace attest::guest
