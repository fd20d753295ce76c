#include "guest/agent/users.h"

#include <algorithm>
#include <charconv>

#include "guest/agent/file_text.h"

namespace attest::agent {
namespace {

constexpr std::size_t largest_file = 8 << 20;

std::string_view next_part(std::string_view& rest, char separator) {
  const auto end = rest.find(separator);
  const auto part = rest.substr(0, end);
  rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
  return part;
}

std::optional<unsigned> number(std::string_view text) {
  unsigned value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// name:password:uid:gid:comment:home:shell
std::optional<User> parse_line(std::string_view line) {
  User user;
  user.name = next_part(line, ':');
  next_part(line, ':');
  const auto uid = number(next_part(line, ':')), gid = number(next_part(line, ':'));
  next_part(line, ':');
  user.home = next_part(line, ':');
  if (!uid || !gid || user.name.empty()) return std::nullopt;
  user.uid = *uid;
  user.gid = *gid;
  return user;
}

}  // namespace

std::optional<User> parse_user(std::string_view name, std::string_view passwd,
                               std::string_view group) {
  std::optional<User> user;
  while (!passwd.empty() && !user) {
    user = parse_line(next_part(passwd, '\n'));
    if (user && user->name != name) user.reset();
  }
  if (!user) return std::nullopt;
  if (user->home.empty()) user->home = "/";
  user->groups.push_back(user->gid);
  while (!group.empty()) {  // name:password:gid:member,member
    auto line = next_part(group, '\n');
    next_part(line, ':');
    next_part(line, ':');
    const auto gid = number(next_part(line, ':'));
    while (gid && !line.empty()) {
      auto& groups = user->groups;
      if (next_part(line, ',') == name &&
          std::find(groups.begin(), groups.end(), *gid) == groups.end())
        groups.push_back(*gid);
    }
  }
  return user;
}

std::optional<User> find_user(std::string_view name) {
  return parse_user(name, read_small_file("/etc/passwd", largest_file).value_or(""),
                    read_small_file("/etc/group", largest_file).value_or(""));
}

std::string user_name(uid_t uid) {
  const auto passwd = read_small_file("/etc/passwd", largest_file).value_or("");
  for (std::string_view rest = passwd; !rest.empty();) {
    auto user = parse_line(next_part(rest, '\n'));
    if (user && user->uid == uid) return user->name;
  }
  return "";
}

}  // namespace attest::agent
