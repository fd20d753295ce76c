// Unix sockets as the monitors make them: a path that is taken stays taken.
#pragma once
#include "lib/base/fd.h"

#include <string>

namespace attest::sims {

/// A non-blocking unix stream socket bound to `path` and listening. Unlike base::listen_unix() it
/// removes nothing. Throws std::system_error with the errno (EADDRINUSE, ENAMETOOLONG, ENOENT), so
/// that each sim can say it in its original's words.
base::Fd listen_new(const std::string& path, int backlog = 128);

/// A listening unix socket without a path (the kernel picks an abstract name), with that name as
/// bytes. For what only this process and its child may know. Throws Error{host}.
struct NamelessListener {
  base::Fd fd;
  std::string address;
};
NamelessListener listen_nameless();

/// Connects to an abstract name (its first byte is NUL) or to a path. Non-blocking; an empty Fd,
/// with errno set, if nobody listens.
base::Fd try_connect(const std::string& address);

}  // namespace attest::sims
