// The guest's users, as /etc/passwd and /etc/group have them. Read by hand: getpwnam in a static
// program would load the guest's libraries.
#pragma once
#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace attest::agent {

struct User {
  std::string name, home;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  ///< all of them, the primary one first
};

/// The user `name` in the texts of the two files; nullopt if passwd has no such line.
std::optional<User> parse_user(std::string_view name, std::string_view passwd,
                               std::string_view group);
/// The same from /etc, now.
std::optional<User> find_user(std::string_view name);
/// The name that belongs to `uid`, "" if there is none.
std::string user_name(uid_t uid);

}  // namespace attest::agent
