#include "lib/sandbox/id_range.h"

#include "lib/base/file.h"
#include "lib/base/text.h"
#include "lib/sandbox/apart.h"
#include "lib/sandbox/descriptors.h"

#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <vector>

namespace attest::sandbox {
namespace {

std::optional<unsigned> number(std::string_view text) {
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// NixOS keeps setuid programs apart, and an ordinary PATH may lack either place.
std::string find_mapper(const std::string& name) {
  const char* path = std::getenv("PATH");
  for (const auto& folder : base::split(
           std::string(path ? path : "") + ":/run/wrappers/bin:/usr/bin:/usr/sbin:/bin", ':'))
    if (std::string program = folder + "/" + name;
        folder.starts_with('/') && ::access(program.c_str(), X_OK) == 0)
      return program;
  return {};
}

pid_t start_mapper(const std::string& program, const std::vector<std::string>& arguments) {
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t pid = ::fork();
  if (pid != 0) return pid;
  keep_only({});
  ::dup2(1, 2);  // what it says is not for the terminal: there is another way
  default_signals();
  ::execv(program.c_str(), argv.data());
  ::_exit(127);
}

bool succeeded(pid_t pid) {
  int status = 0;
  if (pid < 0) return false;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return false;
  return status == 0;
}

}  // namespace

std::optional<unsigned> find_range(std::string_view text, std::string_view name, uid_t uid) {
  std::string by_number = std::to_string(uid);
  for (const auto& line : base::split(text, '\n')) {
    auto parts = base::split(base::trim(line), ':');
    if (parts.size() != 3 || (parts[0] != name && parts[0] != by_number)) continue;
    auto start = number(parts[1]), count = number(parts[2]);
    if (start && count && *count >= range_size) return start;
  }
  return std::nullopt;
}

bool covers_range(std::string_view text) {
  unsigned long long total = 0;
  for (const auto& line : base::split(text, '\n'))
    if (auto at = line.rfind(' '); at != line.npos)
      total += number(std::string_view(line).substr(at + 1)).value_or(0);
  return total >= range_size;
}

IdRange look_for_range(uid_t uid) {
  IdRange range;
  range.user = std::to_string(uid);
  if (find_mapper("newuidmap").empty() || find_mapper("newgidmap").empty()) {
    range.why_not = "newuidmap and newgidmap are not installed (package uidmap)";
    return range;
  }
  if (const passwd* entry = ::getpwuid(uid)) range.user = entry->pw_name;
  auto uids = find_range(base::try_read_file("/etc/subuid").value_or(""), range.user, uid);
  auto gids = find_range(base::try_read_file("/etc/subgid").value_or(""), range.user, uid);
  if (uids && gids) {
    range.uids = *uids;
    range.gids = *gids;
  } else {
    range.why_not = std::string(uids ? "/etc/subgid" : "/etc/subuid") + " gives '" + range.user +
                    "' no range of 65536 ids (usermod --add-subuids 100000-165535 "
                    "--add-subgids 100000-165535 " +
                    range.user + ")";
  }
  return range;
}

std::string map_range(const IdRange& range, pid_t pid, uid_t uid, gid_t gid) {
  auto arguments = [pid](unsigned own, unsigned start) -> std::vector<std::string> {
    return {
        std::to_string(pid),           "0", std::to_string(own), "1", "1", std::to_string(start),
        std::to_string(range_size - 1)};
  };
  // Side by side: each takes a few milliseconds.
  pid_t uids = start_mapper(find_mapper("newuidmap"), arguments(uid, range.uids));
  pid_t gids = start_mapper(find_mapper("newgidmap"), arguments(gid, range.gids));
  bool have_uids = succeeded(uids), have_gids = succeeded(gids);
  if (have_uids && have_gids) return {};
  return std::string(have_uids ? "newgidmap" : "newuidmap") + " did not map the range of '" +
         range.user + "' (it must be setuid root, and not run under no_new_privs)";
}

bool has_range() {
  return ::geteuid() == 0 && covers_range(base::try_read_file("/proc/self/uid_map").value_or("")) &&
         covers_range(base::try_read_file("/proc/self/gid_map").value_or(""));
}

}  // namespace attest::sandbox
