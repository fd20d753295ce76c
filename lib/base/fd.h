// Owned file descriptors. Everything that opens one returns an Fd.
#pragma once
#include "lib/base/owned_fd.h"

#include <string>
#include <utility>

namespace attest::base {

/// A connected pair of close-on-exec unix stream sockets. Throws Error{host}.
std::pair<Fd, Fd> stream_pair();
/// A close-on-exec pipe: {read end, write end}. Throws Error{host}.
std::pair<Fd, Fd> make_pipe();
/// A unix stream socket bound to `path` (removed first if stale) and listening,
/// close-on-exec. Throws Error{host}; a path over 107 bytes is refused by name.
Fd listen_unix(const std::string& path, int backlog = 128);
/// A unix stream socket connected to `path`. Blocks for the handshake only. Throws Error{host}.
Fd connect_unix(const std::string& path);

}  // namespace attest::base
