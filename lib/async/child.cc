#include "lib/async/child.h"

#include "lib/base/sys_error.h"

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/process/v2/environment.hpp>
#include <boost/process/v2/posix/default_launcher.hpp>
#include <boost/process/v2/process.hpp>
#include <boost/process/v2/start_dir.hpp>

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

namespace attest::async {
namespace process = boost::process::v2;
namespace {

// The launch hook. Boost.Process finds its functions by signature and skips in silence what
// does not match exactly; child_test.cc proves that each of these runs.
struct Hook {
  const ChildSpec* spec;
  pid_t parent = ::getpid();

  template <class Launcher>
  process::error_code on_setup(Launcher& launcher, const process::filesystem::path&,
                               const char* const*&) const {
    for (auto& [target, source] : spec->fds) launcher.fd_whitelist.push_back(target);
    return {};
  }

  // Between fork and exec: async-signal-safe calls only.
  template <class Launcher>
  process::error_code on_exec_setup(Launcher&, const process::filesystem::path&,
                                    const char* const*&) const {
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) == -1) return failure();
    if (::getppid() != parent) return {ESRCH, process::system_category()};
    if ((spec->own_session ? ::setsid() : ::setpgid(0, 0)) == -1) return failure();
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    for (int number : {SIGPIPE, SIGINT, SIGQUIT, SIGTERM, SIGHUP}) ::signal(number, SIG_DFL);
    // Sources may be numbers that are targets too (3 -> 4, 4 -> 3): move them out of the way first.
    int high[64];
    int count = 0;
    int above = 3;
    for (auto& [target, source] : spec->fds)
      if (target >= above) above = target + 1;
    for (auto& [target, source] : spec->fds) {
      if (count == 64) return {E2BIG, process::system_category()};
      high[count] = ::fcntl(source.get(), F_DUPFD_CLOEXEC, above);
      if (high[count++] == -1) return failure();
    }
    // Boost 1.81 leaves those open that lie between the numbers it must keep (its own pipe is one).
    // dup2() takes the mark off again.
    ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    count = 0;
    for (auto& [target, source] : spec->fds)
      if (::dup2(high[count++], target) == -1) return failure();
    return {};
  }

  // Without this the launcher calls exit(), which would flush the test's stdio a second time.
  template <class Launcher>
  void on_exec_error(Launcher&, const process::filesystem::path&, const char* const*&,
                     const process::error_code&) const {
    ::_exit(127);
  }

  static process::error_code failure() { return {errno, process::system_category()}; }
};

ExitStatus decode(int status) {
  if (WIFSIGNALED(status)) return {.code = 0, .signal = WTERMSIG(status)};
  return {.code = WEXITSTATUS(status), .signal = 0};
}

base::Fd dev_null() {
  return base::Fd(base::check(::open("/dev/null", O_RDWR | O_CLOEXEC), "opening /dev/null"));
}

}  // namespace

std::string ExitStatus::words() const {
  if (signal)
    return "was killed by signal " + std::to_string(signal) + " (" + ::strsignal(signal) + ")";
  return "exited with code " + std::to_string(code);
}

std::string find_program(const std::string& program) {
  if (program.find('/') != std::string::npos)
    return ::access(program.c_str(), X_OK) == 0 ? program : "";
  const char* path = std::getenv("PATH");
  std::string_view rest =
      path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  while (true) {
    auto end = rest.find(':');
    std::string candidate(rest.substr(0, end));
    candidate += (candidate.empty() ? "./" : "/") + program;
    if (::access(candidate.c_str(), X_OK) == 0 && !std::filesystem::is_directory(candidate))
      return candidate;
    if (end == std::string_view::npos) return "";
    rest.remove_prefix(end + 1);
  }
}

struct Child::Impl {
  Impl(asio::any_io_executor loop, pid_t started) : pid(started), exits(loop), ended(loop) {}

  // Returns once the process is reaped, by this or by kill(). Not Boost.Process's own wait: it
  // takes one readiness of the pidfd as the end and then blocks the whole loop in waitpid(), but
  // Asio 1.24 tells of readiness that belonged to a descriptor which was closed a moment before
  // (its place in the reactor is used again at once).
  static Task<void> reap(std::shared_ptr<Impl> self) {
    while (!self->ended.is_set()) {
      co_await self->exits.async_wait(asio::posix::descriptor_base::wait_read, asio::use_awaitable);
      int status = 0;
      if (::waitpid(self->pid, &status, WNOHANG) == self->pid) self->finish(status);
    }
  }

  void finish(int status) {
    if (ended.is_set()) return;
    exit = decode(status);
    ended.set();
  }

  pid_t pid;
  asio::posix::stream_descriptor exits;  ///< a pidfd
  Event ended;
  ExitStatus exit;
};

Child::Child(asio::any_io_executor loop, ChildSpec spec) {
  if (spec.argv.empty()) throw Error(Error::Kind::usage, "a child process needs a program");
  std::string program = find_program(spec.argv[0]);
  if (program.empty())
    throw Error(Error::Kind::host,
                "the program '" + spec.argv[0] + "' was not found or is not executable")
        .hint("install it, or give its path");
  for (int standard : {0, 1, 2})
    if (!spec.fds.contains(standard)) spec.fds.emplace(standard, dev_null());

  std::map<std::string, std::string> merged;
  for (char** entry = environ; *entry; ++entry) {
    std::string_view text(*entry);
    auto equals = text.find('=');
    if (equals != std::string_view::npos)
      merged.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  for (auto& [key, value] : spec.env) merged[key] = value;
  std::vector<std::string> lines;
  for (auto& [key, value] : merged) lines.push_back(key + "=" + value);
  std::vector<const char*> env;
  for (auto& line : lines) env.push_back(line.c_str());
  env.push_back(nullptr);

  process::posix::default_launcher launcher;
  launcher.env = env.data();
  std::vector<std::string> arguments(spec.argv.begin() + 1, spec.argv.end());
  std::filesystem::path cwd = spec.cwd.empty() ? std::filesystem::path(".") : spec.cwd;
  process::error_code failure;
  auto started = launcher(loop, failure, program, arguments,
                          process::process_start_dir(cwd.string()), Hook{&spec});
  if (failure) throw base::sys_error("starting '" + program + "'", failure.value());
  auto handle = started.detach();  // else its destructor would end the process
  impl_ = std::make_shared<Impl>(loop, handle.id());
  base::Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, handle.id(), 0)));
  if (!pidfd) {
    auto number = errno;
    kill();
    throw base::sys_error("watching '" + program + "'", number);
  }
  impl_->exits.assign(pidfd.release());
  // Nothing is swallowed: the only failure is the loop's end.
  asio::co_spawn(loop, Impl::reap(impl_), [](std::exception_ptr) {});
}

Child::~Child() {
  if (impl_) kill();
}

int Child::pid() const noexcept { return impl_->pid; }
bool Child::running() const noexcept { return !impl_->ended.is_set(); }

Task<ExitStatus> Child::wait() {
  auto self = impl_;
  co_await self->ended.wait();
  co_return self->exit;
}

void Child::signal(int number) noexcept {
  if (!running()) return;
  // The leader first: it may not have made its group yet.
  ::kill(impl_->pid, number);
  ::kill(-impl_->pid, number);
}

void Child::kill() noexcept {
  if (!running()) return;
  signal(SIGKILL);
  int status = 0;
  pid_t reaped;
  do reaped = ::waitpid(impl_->pid, &status, 0);
  while (reaped == -1 && errno == EINTR);
  impl_->finish(reaped == impl_->pid ? status : SIGKILL);
  boost::system::error_code ignored;
  impl_->exits.close(ignored);  // ends the coroutine that reaps
}

}  // namespace attest::async
