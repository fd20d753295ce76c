// Terminals for commands. By hand: posix_openpt's ptsname looks for paths.
#pragma once
#include <optional>
#include <string_view>

#include "guest/agent/fd.h"

namespace attest::agent {

struct Size {
  unsigned short rows = 24, columns = 80;
};
/// "ROWSxCOLUMNS"; nullopt for anything else.
std::optional<Size> parse_size(std::string_view text);

struct Terminal {
  Fd ours, theirs;  ///< ours is non-blocking; both are close-on-exec
};
/// nullopt with errno if there is none to be had.
std::optional<Terminal> open_terminal(Size size);
/// Tells who runs in it, too (SIGWINCH).
bool resize_terminal(int ours, Size size);

}  // namespace attest::agent
