#include "lib/sandbox/cgroup_sweep.h"

#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"
#include "lib/sandbox/apart.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

namespace attest::sandbox {
namespace {

using base::Fd;
namespace fs = std::filesystem;

// A shell, so that what waits holds none of our memory, and may be started beside threads. A pid
// that is not visible here reads as 0, and `kill 0` would mean ourselves.
constexpr const char* script = R"(
trap '' HUP INT QUIT TERM PIPE
while read -r line; do :; done
each() {
  while read -r pid; do [ "$pid" -gt 0 ] && kill -9 "$pid"; done <"$1/cgroup.procs"
  for inner in "$1"/*/ "$1"/.[!.]*/; do [ -d "$inner" ] && each "${inner%/}"; done
}
remove() {
  for inner in "$1"/*/ "$1"/.[!.]*/; do [ -d "$inner" ] && remove "${inner%/}"; done
  rmdir "$1"
}
round=0
while [ -d "$1" ] && [ "$round" -lt 200 ]; do
  echo 1 >"$1/cgroup.kill" || each "$1"
  remove "$1"
  [ -d "$1" ] || break
  round=$((round + 1))
  sleep 0.05
done
)";

bool is_cgroup(const fs::path& directory) {
  struct statfs status{};
  return ::statfs(directory.c_str(), &status) == 0 && status.f_type == CGROUP2_SUPER_MAGIC;
}

bool lists(const fs::path& directory, const std::vector<std::string>& pids) {
  auto text = base::try_read_file(directory / "cgroup.procs").value_or("");
  for (const auto& line : base::split(text, '\n'))
    if (std::find(pids.begin(), pids.end(), line) != pids.end()) return true;
  return false;
}

bool holds(const fs::path& directory, const std::vector<std::string>& pids) {
  if (lists(directory, pids)) return true;
  std::error_code gone;
  for (fs::recursive_directory_iterator entry(directory, gone), end; entry != end;
       entry.increment(gone))
    if (entry->is_directory(gone) && lists(entry->path(), pids)) return true;
  return false;
}

}  // namespace

Fd sweep_cgroup_later(const std::string& directory, pid_t owner) {
  std::string attempt = "having the cgroup '" + directory + "' swept";
  auto refuse = [&](const char* why) { throw Error(Error::Kind::host, attempt + ": " + why); };
  if (!directory.starts_with('/')) refuse("the path is not absolute");
  std::error_code failure;
  fs::path wanted(directory);
  bool exists = fs::exists(wanted, failure);
  // Whatever is asked, no cgroup of somebody else's goes.
  if (!wanted.filename().string().starts_with("attest-"))
    refuse("only one whose name begins with 'attest-' is");
  fs::path path = exists ? fs::canonical(wanted, failure)
                         : fs::canonical(wanted.parent_path(), failure) / wanted.filename();
  if (failure) throw base::sys_error(attempt, failure.value());
  if (exists && !fs::is_directory(path, failure)) refuse("it is not a directory");
  if (exists && !is_cgroup(path)) refuse("it is not a directory of cgroup2");
  if (!is_cgroup(path.parent_path()))
    refuse(exists ? "it is the root of cgroup2" : "it would not be a directory of cgroup2");
  if (exists && holds(path, {std::to_string(::getpid()), std::to_string(owner)}))
    refuse("the process outside the sandbox is in it");

  auto [ours, theirs] = base::stream_pair();
  std::string target = path;
  const char* argument = target.c_str();
  int socket = theirs.get();
  start_apart(attempt.c_str(), {socket}, [=] {
    ::dup2(socket, 0);
    ::dup2(1, 2);  // /dev/null: nobody's pipe stays open for us
    ::close(socket);
    default_signals();
    ::execl("/bin/sh", "attest-sweeper", "-c", script, "attest-sweeper", argument, nullptr);
  });
  // Not before there is somebody who will remove it, whatever happens to us.
  if (::mkdir(target.c_str(), 0755) != 0 && errno != EEXIST) throw base::sys_error(attempt);
  return std::move(ours);
}

}  // namespace attest::sandbox
