// virtiofsd, the program that shows a directory of the host to a guest: where it is, which of its
// two implementations it is (QEMU's in C until 7.2, then one in Rust), and how each is called.
#pragma once
#include "lib/async/net.h"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace attest::qemu {

/// The path of virtiofsd: on PATH, or where distributions put it; "" if there is none.
std::string find_virtiofsd();

/// True if the text that `virtiofsd --version` prints is that of the C program. Pure.
bool is_c_virtiofsd(std::string_view version_text);

/// What one daemon is to do.
struct VirtiofsdCall {
  std::string program;
  bool is_c = false;
  std::filesystem::path directory;  ///< absolute
  bool writable = false;
  bool root = false;  ///< started by root (of a user namespace, too)
  int listen_fd = 3;  ///< the inherited socket on which QEMU comes
};

/// Its command line. What may not be written is mounted read-only in a mount namespace of its own,
/// so that no guest can change it; an ordinary user becomes root of a user namespace, which the C
/// program needs. Pure.
std::vector<std::string> virtiofsd_command(const VirtiofsdCall& call);

/// Runs `program --version` and returns what it prints. Throws Error{host, timeout}.
Task<std::string> virtiofsd_version(std::string program, Deadline deadline);

}  // namespace attest::qemu
