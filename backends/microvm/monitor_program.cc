#include "backends/microvm/monitor_program.h"

#include "backends/image/probe_answers.h"
#include "lib/async/aside.h"
#include "lib/async/child.h"
#include "lib/base/fd.h"
#include "lib/base/text.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <spawn.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>

namespace attest::microvm {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 10s;
constexpr std::size_t most_output = 4096;

}  // namespace

std::string Version::text() const {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

std::optional<Version> parse_version(std::string_view printed) {
  auto is_digit = [](char byte) { return byte >= '0' && byte <= '9'; };
  for (std::size_t at = 0; at < printed.size(); ++at) {
    bool begins =
        is_digit(printed[at]) && (at == 0 || printed[at - 1] == ' ' || printed[at - 1] == 'v');
    if (!begins) continue;
    int numbers[3] = {};
    int count = 0;
    std::size_t next = at;
    while (count < 3 && next < printed.size() && is_digit(printed[next])) {
      int value = 0;
      for (; next < printed.size() && is_digit(printed[next]) && value < 100'000; ++next)
        value = value * 10 + (printed[next] - '0');
      numbers[count++] = value;
      if (next + 1 < printed.size() && printed[next] == '.' && is_digit(printed[next + 1]))
        ++next;
      else
        break;
    }
    if (count >= 2) return Version{numbers[0], numbers[1], numbers[2]};
  }
  return std::nullopt;
}

std::string wanted_program(const std::string& configured, std::string_view standard,
                           const char* variable) {
  const char* named = std::getenv(variable);
  return configured == standard && named && *named ? named : configured;
}

std::string find_monitor(const std::string& configured, std::string_view standard,
                         const char* variable) {
  return async::find_program(wanted_program(configured, standard, variable));
}

// Not an async::Child: this runs on any thread, before there is a loop.
std::string ask_program(const std::string& program, const std::string& argument) {
  auto [ours, theirs] = base::make_pipe();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), 2);
  std::string name = program, only = argument;
  char* argv[] = {name.data(), only.data(), nullptr};
  pid_t pid = 0;
  int failure = ::posix_spawn(&pid, program.c_str(), &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  theirs.reset();
  if (failure)
    throw Error(Error::Kind::host,
                "'" + program + "' cannot be started: " + std::generic_category().message(failure));
  std::string text;
  auto deadline = Deadline::after(patience);
  while (text.size() < most_output) {
    pollfd waiting{ours.get(), POLLIN, 0};
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline.left());
    int ready = ::poll(&waiting, 1, int(left.count()));
    if (ready == -1 && errno == EINTR) continue;
    char buffer[1024];
    ssize_t count = ready > 0 ? ::read(ours.get(), buffer, sizeof buffer) : 0;
    if (count <= 0) break;
    text.append(buffer, std::size_t(count));
  }
  ::kill(pid, SIGKILL);  // it has closed its output, or takes too long
  ::waitpid(pid, nullptr, 0);
  return text;
}

Version monitor_version(const std::string& program) {
  static std::mutex mutex;
  static std::map<std::string, Version> known;
  std::lock_guard lock(mutex);
  std::string which = image::file_identity(program);
  if (auto found = known.find(which); found != known.end()) return found->second;
  std::string printed = ask_program(program, "--version");
  auto version = parse_version(printed);
  if (!version)
    throw Error(Error::Kind::host, "'" + program + " --version' printed no version: '" +
                                       base::printable(base::trim(printed)) + "'")
        .hint("check which program that is");
  return known[which] = *version;
}

std::string slow_restore_notice() {
  static std::atomic<bool> told = false;
  struct statfs found{};
  if (::statfs("/sys/fs/cgroup", &found) != 0 || found.f_type == CGROUP2_SUPER_MAGIC) return "";
  if (told.exchange(true)) return "";
  return "this host has cgroup v1, with which KVM is slow to restore machines: boot it with cgroup "
         "v2 "
         "(systemd.unified_cgroup_hierarchy=1), or mount v1 with favordynmods";
}

Task<Version> monitor_version_async(std::string program) {
  auto ask = [program] { return monitor_version(program); };
  co_return co_await async::aside(std::move(ask));
}

}  // namespace attest::microvm
