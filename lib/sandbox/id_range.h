// Ids for an ordinary user's sandbox: beside the user's own one, a range that the host's owner has
// set aside in /etc/subuid and /etc/subgid. Containers need one; the setuid programs of the
// package uidmap write the maps.
#pragma once
#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

namespace attest::sandbox {

/// How many ids a user namespace has then: 0 is the user, the others are from the range.
inline constexpr unsigned range_size = 65536;

/// The start of the first range of at least range_size ids in a subuid file's `text` for the user
/// of that name or id. Malformed lines are passed over. Pure.
std::optional<unsigned> find_range(std::string_view text, std::string_view name, uid_t uid);
/// True if a uid_map's `text` maps at least range_size ids. Pure.
bool covers_range(std::string_view text);

/// What can be mapped for the user.
struct IdRange {
  std::string user;             ///< name, or number without one
  unsigned uids = 0, gids = 0;  ///< the starts
  std::string why_not;          ///< empty: there is a range, and the programs to map it
};
/// Reads the host's files and looks for the programs. Never fails. Call it outside.
IdRange look_for_range(uid_t uid);
/// Writes both maps of the user namespace of `pid`, a child that has written none: 0 is `uid` and
/// `gid`, the rest is from `range`. Returns why it could not; then the namespace is of no use any
/// more. SIGCHLD must have its default action.
std::string map_range(const IdRange& range, pid_t pid, uid_t uid, gid_t gid);

/// Whether this process is root over a whole range of ids.
bool has_range();

}  // namespace attest::sandbox
