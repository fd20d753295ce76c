#include "backends/nspawn/enter.h"

#include "attest/error.h"
#include "lib/async/child.h"
#include "lib/async/fd_stream.h"
#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <charconv>

namespace attest::nspawn {
namespace {

namespace fs = std::filesystem;

// Numbers of one digit: all that a shell can close.
constexpr int first_namespace_fd = 3;
constexpr int program_fd = 9;
constexpr const char* close_and_run = "exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&-;\"$@\";exit";

// What the kernel calls it in /proc/N/ns, and nsenter as an option.
constexpr std::pair<const char*, const char*> namespaces[] = {
    {"mnt", "--mount"}, {"pid", "--pid"}, {"net", "--net"},
    {"uts", "--uts"},   {"ipc", "--ipc"}, {"cgroup", "--cgroup"}};

// As the backdoor shell of an image would: the login environment, then the banner.
constexpr const char* login = R"(export USER=root HOME=/root DISPLAY=:0.0
if [ -r /etc/profile ];then . /etc/profile;fi
export PAGER=
cd /tmp||cd /
)";

bool is_alive(const base::Fd& process) {
  pollfd ended{.fd = process.get(), .events = POLLIN, .revents = 0};
  return ::poll(&ended, 1, 0) == 0;
}

std::optional<Leader> hold(int pid) {
  Leader leader{.pid = pid,
                .process = base::Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))),
                .namespaces = {}};
  if (!leader.process) return std::nullopt;
  for (auto& [name, option] : namespaces) {
    std::string path = "/proc/" + std::to_string(pid) + "/ns/" + name;
    base::Fd opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!opened) return std::nullopt;
    leader.namespaces.emplace_back(option, std::move(opened));
  }
  return leader;
}

std::vector<int> pids_of(const fs::path& file) {
  std::vector<int> pids;
  for (auto& line : base::split(base::try_read_file(file).value_or(""), '\n')) {
    int pid = 0;
    auto end = std::from_chars(line.data(), line.data() + line.size(), pid);
    if (end.ec == std::errc() && pid > 0) pids.push_back(pid);
  }
  return pids;
}

bool is_leader(int pid, std::size_t own_depth) {
  auto status = base::try_read_file("/proc/" + std::to_string(pid) + "/status");
  auto numbers = namespace_pids(status.value_or(""));
  return numbers.size() == own_depth + 2 && numbers.back() == 1;
}

// The agent as a file without a name, since the container's files are not ours.
base::Fd program_file(std::string_view program) {
  base::Fd file(
      base::check(::memfd_create("attest-agent", MFD_CLOEXEC), "making the agent's file"));
  while (!program.empty()) {
    ssize_t count = ::write(file.get(), program.data(), program.size());
    if (count < 0) throw base::sys_error("writing the agent's file");
    program.remove_prefix(static_cast<std::size_t>(count));
  }
  // A descriptor open for writing would make it "busy" for execve.
  std::string path = "/proc/self/fd/" + std::to_string(file.get());
  return base::Fd(base::check(::open(path.c_str(), O_RDONLY | O_CLOEXEC), "opening the agent"));
}

Task<void> forward(std::unique_ptr<Stream> lines, std::function<void(std::string_view)> console) {
  std::array<char, 4096> buffer;
  while (auto count = co_await lines->read_some(buffer))
    if (console) console({buffer.data(), count});
}

// A connection whose process ends with it.
class Entered final : public Stream {
 public:
  Entered(asio::any_io_executor loop, async::ChildSpec spec, base::Fd ours)
      : stream_(async::make_stream(loop, std::move(ours))), child_(loop, std::move(spec)) {}

  Task<std::size_t> read_some(std::span<char> buffer) override {
    return stream_->read_some(buffer);
  }
  Task<void> write_all(std::string_view bytes) override { return stream_->write_all(bytes); }
  void close() noexcept override { stream_->close(); }

 private:
  std::unique_ptr<Stream> stream_;
  async::Child child_;
};

}  // namespace

std::vector<int> namespace_pids(std::string_view status) {
  std::vector<int> pids;
  for (auto& line : base::split(status, '\n')) {
    if (!line.starts_with("NSpid:")) continue;
    const char *at = line.data() + 6, *end = line.data() + line.size();
    while (at < end) {
      int pid = 0;
      auto parsed = std::from_chars(at, end, pid);
      if (parsed.ec == std::errc()) pids.push_back(pid);
      at = parsed.ec == std::errc() ? parsed.ptr : at + 1;
    }
  }
  return pids;
}

std::optional<Leader> find_leader(const fs::path& cgroup) {
  auto own_depth = namespace_pids(base::try_read_file("/proc/self/status").value_or("")).size();
  std::vector<fs::path> left{cgroup};
  while (!left.empty()) {
    fs::path directory = left.back();
    left.pop_back();
    for (int pid : pids_of(directory / "cgroup.procs")) {
      if (!is_leader(pid, own_depth)) continue;
      auto leader = hold(pid);
      // Looked at again: between the two looks the number may have become another's.
      if (leader && is_leader(pid, own_depth) && is_alive(leader->process)) return leader;
    }
    std::error_code gone;
    for (fs::directory_iterator entry(directory, gone), end; !gone && entry != end;
         entry.increment(gone))
      if (entry->is_directory(gone)) left.push_back(entry->path());
  }
  return std::nullopt;
}

void signal_leader(const Leader& leader, int number) noexcept {
  ::syscall(SYS_pidfd_send_signal, leader.process.get(), number, nullptr, 0);
}

std::unique_ptr<Stream> enter(asio::any_io_executor loop, Leader leader,
                              std::vector<std::string> argv, std::string_view program,
                              std::function<void(std::string_view)> console) {
  auto [ours, theirs] = base::stream_pair();
  auto [lines, errors] = base::make_pipe();
  async::ChildSpec spec;
  spec.argv = {"nsenter", "--no-fork"};
  int number = first_namespace_fd;
  for (auto& [option, opened] : leader.namespaces) {
    spec.argv.push_back(option + "=/proc/self/fd/" + std::to_string(number));
    spec.fds.emplace(number++, std::move(opened));
  }
  for (const char* word : {"--", "/usr/bin/env", "-i",
                           "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
    spec.argv.emplace_back(word);
  // The pid namespace takes only children, so somebody has to wait outside. Not nsenter: when
  // systemd stops all processes for an instant, in its last moments, nsenter stops itself too, and
  // nobody wakes it.
  for (const char* word : {"/bin/sh", "-c", close_and_run, "sh"}) spec.argv.emplace_back(word);
  spec.argv.insert(spec.argv.end(), argv.begin(), argv.end());
  if (!program.empty()) spec.fds.emplace(program_fd, program_file(program));
  base::Fd copy(base::check(::fcntl(theirs.get(), F_DUPFD_CLOEXEC, 0), "duplicating a connection"));
  spec.fds.emplace(0, std::move(copy));
  spec.fds.emplace(1, std::move(theirs));
  spec.fds.emplace(2, std::move(errors));
  auto entered = std::make_unique<Entered>(loop, std::move(spec), std::move(ours));
  // It ends with the pipe, and reports nothing.
  asio::co_spawn(loop, forward(async::make_stream(loop, std::move(lines)), std::move(console)),
                 [](std::exception_ptr) {});
  return entered;
}

std::vector<std::string> agent_argv() {
  return {"/bin/sh", "-c", std::string(login) + "exec /proc/self/fd/9 --stdio"};
}

std::vector<std::string> shell_argv() {
  return {"/bin/sh", "-c", std::string(login) + R"(echo 'connecting to host...' >&2
echo 'Spawning backdoor root shell...'
if command -v bash >/dev/null;then PS1= exec bash --norc;fi
PS1= exec sh
)"};
}

}  // namespace attest::nspawn
