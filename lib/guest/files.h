// Waiting for files and unix sockets in the guest.
#pragma once
#include "lib/guest/guest.h"

#include <string>

namespace attest::guest {

/// Waits until `path` exists; its last part may hold * and ?. Throws Error{usage} unless it is
/// absolute.
Task<void> wait_for_file(Guest& guest, std::string path, Deadline deadline);
/// Waits until a process accepts connections (or, with is_datagram, takes datagrams) on the unix
/// socket at `path`. `options.timeout` is not looked at.
Task<void> wait_for_open_unix_socket(Guest& guest, std::string path, SocketOptions options,
                                     Deadline deadline);

/// How a shell finds that out, as a Probe::Contract::states. Pure; throws Error{usage}.
std::string file_probe(const FileExists& file);
/// The same, with `nc -U` or else /proc/net/unix.
std::string socket_probe(const SocketAccepts& socket);

}  // namespace attest::guest
