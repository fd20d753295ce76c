#include "guest/agent/spawn.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "guest/agent/file_text.h"

namespace attest::agent {

const char default_path[] =
    "/run/wrappers/bin:/run/current-system/sw/bin:"
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

namespace {

// What a command is given back.
struct Inherited {
  rlimit descriptors{};
  std::string oom_score;
  bool oom_changed = false;
  std::vector<int> ignored;  // signals; what started us may have ignored some
  int nothing = -1;
};
Inherited inherited;

bool write_text(const char* path, std::string_view text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const auto count = write(fd, text.data(), text.size());
  close(fd);
  return count == static_cast<ssize_t>(text.size());
}

// All that the child needs, made before it exists: after vfork it may not allocate.
struct Plan {
  const Program& program;
  std::vector<std::string> candidates;
  std::vector<char*> argv, shell_argv, env;
  volatile Spawned::Step failed = Spawned::Step::none;
  volatile int error = 0;
};

std::vector<char*> pointers(const std::vector<std::string>& words, std::size_t spare) {
  std::vector<char*> result(spare);
  for (const auto& word : words) result.push_back(const_cast<char*>(word.c_str()));
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> candidates(const Program& program) {
  const std::string& name = program.argv[0];
  if (name.empty() || name.find('/') != name.npos) return {name};
  std::vector<std::string> result;
  std::string_view path = program.path;
  if (path.empty()) path = env_value(program.env, "PATH");
  if (path.empty()) path = default_path;
  while (!path.empty()) {
    const auto end = path.find(':');
    const auto folder = path.substr(0, end);
    result.push_back((folder.empty() ? "." : std::string(folder)) + "/" + name);
    path.remove_prefix(end == path.npos ? path.size() : end + 1);
  }
  return result;
}

bool place(int from, int to) {
  if (from < 0) from = inherited.nothing;
  return dup2(from, to) == to;
}

bool become(const User& user) {
  return setgroups(user.groups.size(), user.groups.data()) == 0 &&
         setresgid(user.gid, user.gid, user.gid) == 0 &&
         setresuid(user.uid, user.uid, user.uid) == 0;
}

// Runs in the parent's memory: system calls only. Returns where it got stuck.
Spawned::Step run_child(Plan& plan) {
  const auto& program = plan.program;
  setsid();
  if (program.terminal && ioctl(program.in, TIOCSCTTY, 0) != 0) return Spawned::Step::terminal;
  place(program.in, 0);
  place(program.out, 1);
  place(program.err, 2);
  if (program.extra >= 0 && program.extra != 3) dup2(program.extra, 3);
  if (program.extra >= 0) fcntl(3, F_SETFD, 0);
  // Ours are close-on-exec; this is for what we have been given.
  const unsigned first = program.extra >= 0 ? 4 : 3;
  syscall(SYS_close_range, first, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
  if (inherited.oom_changed) write_text("/proc/self/oom_score_adj", inherited.oom_score);
  setrlimit(RLIMIT_NOFILE, &inherited.descriptors);
  for (int number : inherited.ignored) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (program.user && !become(*program.user)) return Spawned::Step::user;
  if (!program.cwd.empty() && chdir(program.cwd.c_str()) != 0) return Spawned::Step::directory;
  int worst = ENOENT;
  for (const auto& path : plan.candidates) {
    execve(path.c_str(), plan.argv.data(), plan.env.data());
    if (errno == ENOEXEC) {  // a script without its first line: a shell would run it, too
      plan.shell_argv[0] = const_cast<char*>("sh");
      plan.shell_argv[1] = const_cast<char*>(path.c_str());
      execve("/bin/sh", plan.shell_argv.data(), plan.env.data());
      errno = ENOEXEC;
    }
    if (errno != ENOENT && errno != ENOTDIR) worst = errno;
    if (errno == E2BIG || errno == ENOMEM) break;
  }
  errno = worst;
  return Spawned::Step::exec;
}

[[gnu::noinline]] pid_t vfork_and_run(Plan& plan) {
  // posix_spawn can neither change users nor limits nor the controlling terminal.
  const pid_t pid = vfork();  // NOLINT(bugprone-unsafe-functions)
  if (pid == 0) {
    plan.failed = run_child(plan);
    plan.error = errno;
    _exit(127);
  }
  return pid;
}

}  // namespace

void prepare_spawning() {
  for (int number = 1; number < 32; ++number) {
    struct sigaction action{};
    if (sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN)
      inherited.ignored.push_back(number);
  }
  signal(SIGPIPE, SIG_IGN);
  if (std::count(inherited.ignored.begin(), inherited.ignored.end(), SIGPIPE) == 0)
    inherited.ignored.push_back(SIGPIPE);
  inherited.nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  getrlimit(RLIMIT_NOFILE, &inherited.descriptors);
  auto more = inherited.descriptors;
  more.rlim_cur = more.rlim_max;
  setrlimit(RLIMIT_NOFILE, &more);
  inherited.oom_score = read_small_file("/proc/self/oom_score_adj", 16).value_or("0");
  inherited.oom_changed = write_text("/proc/self/oom_score_adj", "-1000");
}

Spawned spawn(const Program& program) {
  Plan plan{program, candidates(program), pointers(program.argv, 0), pointers(program.argv, 1),
            pointers(program.env, 0)};
  const pid_t pid = vfork_and_run(plan);
  if (pid < 0) return {-1, Spawned::Step::fork, errno};
  // A child that has failed is reaped by the loop, without a word.
  if (plan.failed != Spawned::Step::none) return {-1, plan.failed, plan.error};
  return {pid, Spawned::Step::none, 0};
}

std::string_view env_value(const std::vector<std::string>& env, std::string_view name) {
  for (std::string_view entry : env)
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=')
      return entry.substr(name.size() + 1);
  return {};
}

void env_unset(std::vector<std::string>& env, std::string_view name) {
  std::erase_if(env, [&](std::string_view entry) {
    return entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=';
  });
}

void env_set(std::vector<std::string>& env, std::string_view assignment) {
  env_unset(env, assignment.substr(0, assignment.find('=')));
  env.emplace_back(assignment);
}

}  // namespace attest::agent
