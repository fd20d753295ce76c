#include "backends/loopback/loopback.h"

#include "lib/async/child.h"
#include "lib/async/fd_stream.h"
#include "lib/async/within.h"
#include "lib/base/sys_error.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <optional>
#include <utility>

namespace attest::loopback {
namespace {

namespace fs = std::filesystem;

// Arguments: isolated or shared; a directory for the machine's own files, or ""; what serves; then
// for each mount and file its kind, the host's path, the machine's, and rw or ro or the mode. sh
// stays pid 1 of the namespace and reaps. Until the last mounts it sees the host's /tmp and /run.
constexpr std::string_view inside = R"sh(
trap : TERM
mode=$1 own=${2:-/run} serve=$3
shift 3
fail() { echo "attest-loopback: $*" >&2; exit 1; }
if [ "$mode" = isolated ];then
mount -t tmpfs -o mode=755 attest "$own"
mkdir "$own/tmp" "$own/run"
chmod 1777 "$own/tmp"
ip link set lo up
fi 2>/dev/null
# Sets $at to where the machine's $1 is now; nothing below it is the host's.
place() {
at=$1 top=${1#/}
top=/${top%%/*}
case $top in
/tmp|/run) [ "$mode" = shared ]||at=$own$1;;
*) [ "$mode" = isolated ]||fail "$1: this host permits no namespaces, so it would be the host's"
[ -d "$own/over$top" ]&&return
mkdir -p "$own/over$top/upper" "$own/over$top/work"
mount -t overlay -o "lowerdir=$top,upperdir=$own/over$top/upper,workdir=$own/over$top/work" \
overlay "$top"||fail "$1: $top cannot be covered";;
esac
}
while [ $# -gt 0 ];do
place "$3"
case $1 in
mount) if [ "$mode" = isolated ];then
mkdir -p "$at"&&mount --bind "$2" "$at"||fail "$2 cannot be mounted at $3"
[ "$4" = rw ]||mount -o remount,bind,ro "$at"||fail "$3 cannot be made read-only"
fi;;
file) mkdir -p "${at%/*}"&&cp "$2" "$at"&&chmod "$4" "$at"||fail "$2 cannot be copied to $3";;
esac
shift 4
done
# The one that $own lies in comes last: it hides $own.
case $mode$own in
isolated/run*) mount --rbind "$own/tmp" /tmp;mount --rbind "$own/run" /run;;
isolated*) mount --rbind "$own/run" /run;mount --rbind "$own/tmp" /tmp;;
esac 2>/dev/null
# Not before: the sandbox's work directory, where all of this lies, is below the old /proc.
[ "$mode" = shared ]||mount -t proc proc /proc||fail "/proc cannot be mounted"
export USER=root HOME=/root DISPLAY=:0.0
if [ -r /etc/profile ];then . /etc/profile;fi
export PAGER=
cd /tmp
echo 'connecting to host...' >&2
if [ "$serve" = agent ];then
/proc/self/fd/9 --stdio
exit
fi
echo 'Spawning backdoor root shell...'
PS1= $serve
exit 0
)sh";

// $1 is the text above, the rest its arguments after the first. What is not permitted (containers,
// other users) is done without.
constexpr std::string_view outside = R"sh(
map=;[ "$(id -u)" = 0 ]||map=--map-root-user
net=;command -v ip >/dev/null&&net=--net
flags="$map --mount --pid --fork --kill-child=KILL"
text=$1
shift
for try in "$flags $net" "$flags";do
unshare $try --mount-proc true 2>/dev/null&&exec unshare $try sh -c "$text" loopback isolated "$@"
done
exec sh -c "$text" loopback shared "$@"
)sh";

// An environment of its own: what the host has exported does not reach the machine.
std::vector<std::string> command_line(const std::string& own, const std::string& serve) {
  return {"env",
          "-i",
          "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
          "sh",
          "-c",
          std::string(outside),
          "loopback",
          std::string(inside),
          own,
          serve};
}

base::Fd duplicate(const base::Fd& fd) {
  return base::Fd(base::check(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0), "duplicating a descriptor"));
}

// The agent as a file without a name; it is there whatever the machine's /tmp and /run are.
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

class Loopback final : public Backend, private FileSharing {
 public:
  explicit Loopback(BackendContext context) : context_(std::move(context)) {}

  std::string_view name() const override { return "loopback"; }
  PowerControl power_control() const override { return PowerControl::backend; }

  Task<std::unique_ptr<Stream>> boot(Deadline) override {
    kill();
    auto [ours, theirs] = base::stream_pair();
    auto [lines, errors] = base::make_pipe();
    async::ChildSpec spec;
    spec.argv = machine_command_line();
    if (has_agent()) spec.fds.emplace(9, program_file(context_.agent));
    spec.fds.emplace(0, duplicate(theirs));
    spec.fds.emplace(1, std::move(theirs));
    spec.fds.emplace(2, std::move(errors));
    child_.emplace(context_.loop, std::move(spec));
    // It ends with the pipe, and reports nothing.
    asio::co_spawn(context_.loop,
                   forward(async::make_stream(context_.loop, std::move(lines)), context_.console),
                   [](std::exception_ptr) {});
    co_return async::make_stream(context_.loop, std::move(ours));
  }

  fs::path shared_dir() override { return isolated() ? shared() : ""; }
  FileSharing* file_sharing() override { return this; }
  Task<Mount> share(fs::path host, std::string guest, bool writable, Deadline) override {
    // Those of the config have been there since its start; a running machine's mounts are closed.
    MountConfig wanted{host.string(), guest, writable};
    auto& mounts = context_.config.mounts;
    if (!isolated() || std::find(mounts.begin(), mounts.end(), wanted) == mounts.end())
      throw Error(Error::Kind::unsupported,
                  "a loopback machine shares only the directories of the config's 'mounts', and "
                  "those only where namespaces are permitted");
    co_return Mount{};
  }

  Task<void> shutdown(Deadline deadline) override {
    if (!child_) co_return;
    child_->signal(SIGTERM);
    co_await async::within(deadline, "waiting for the shell to end", gone());
  }

  void kill() noexcept override {
    if (child_) child_->kill();
  }

  Task<Gone> wait_gone(Deadline deadline) override {
    if (!child_) co_return Gone{true, "it was not started"};
    co_await async::within(deadline, "waiting for the shell to end", gone());
    auto status = co_await child_->wait();
    co_return Gone{status.code == 0 && status.signal == 0, "its shell " + status.words()};
  }

 private:
  bool has_agent() const {
    auto& options = context_.config.loopback;
    return options.agent && options.shell == "bash" && !context_.agent.empty();
  }
  fs::path shared() const { return context_.work_dir.parent_path() / "shared-xchg"; }
  // Its process is in a mount namespace of its own.
  bool isolated() const {
    if (!child_ || !child_->running()) return false;
    std::error_code unknown;
    auto its = fs::read_symlink("/proc/" + std::to_string(child_->pid()) + "/ns/mnt", unknown);
    return !unknown && its != fs::read_symlink("/proc/self/ns/mnt", unknown);
  }
  std::vector<std::string> machine_command_line() const {
    auto& config = context_.config;
    auto words =
        has_agent() ? command_line("", "agent") : shell_command_line(config.loopback.shell);
    if (context_.work_dir.empty()) return words;
    fs::path own = context_.work_dir / "own";
    for (auto& needed : {own, shared()}) fs::create_directories(needed);
    words[words.size() - 2] = own;
    auto add = [&](const char* kind, const fs::path& host, const std::string& guest,
                   const std::string& how) {
      words.insert(words.end(), {kind, fs::absolute(host).string(), guest, how});
    };
    add("mount", shared(), "/tmp/shared", "rw");
    for (auto& mount : config.mounts)
      add("mount", mount.host, mount.guest, mount.writable ? "rw" : "ro");
    for (auto& file : config.files) add("file", file.from, file.to, file.mode);
    return words;
  }

  Task<void> gone() {
    if (child_) co_await child_->wait();
  }

  static Task<void> forward(std::unique_ptr<Stream> lines,
                            std::function<void(std::string_view)> console) {
    std::array<char, 4096> buffer;
    while (auto count = co_await lines->read_some(buffer))
      if (console) console({buffer.data(), count});
  }

  BackendContext context_;
  std::optional<async::Child> child_;
};

}  // namespace

std::vector<std::string> shell_command_line(const std::string& shell, bool terminal) {
  std::string serve = shell == "bash" ? "bash --norc" : shell;
  return command_line("", terminal ? serve + " /proc/self/fd/0" : serve);
}

void check_config(const std::string& machine, const MachineConfig& config) {
  const std::pair<const char*, bool> asked[] = {
      {"image", !config.image.empty()},
      {"kernel", !config.kernel.empty()},
      {"initrd", !config.initrd.empty()},
      {"cmdline", !config.cmdline.empty()},
      {"start_script", !config.start_script.empty()},
      {"firmware", !config.firmware.empty()},
      {"network", !config.network.empty()},
      {"disks", !config.disks.empty()},
      {"credentials", !config.credentials.empty()},
      {"extra_args", !config.extra_args.empty()},
      {"graphics", config.graphics},
      {"internet", config.internet},
  };
  for (auto& [key, given] : asked)
    if (given)
      throw Error(Error::Kind::unsupported,
                  "machines." + machine + "." + key +
                      ": a loopback machine is processes of this host and has none")
          .hint("remove the key, or use backend qemu");
  auto check_place = [&](const char* key, const std::string& path) {
    for (const char* top : {"/proc", "/sys", "/dev"})
      if (path == top || path.starts_with(std::string(top) + "/") || path == "/")
        throw Error(Error::Kind::unsupported, "machines." + machine + "." + key + ": '" + path +
                                                  "' of a loopback machine is the kernel's own")
            .hint("use another path");
  };
  for (auto& mount : config.mounts) check_place("mounts", mount.guest);
  for (auto& file : config.files) check_place("files", file.to);
}

std::unique_ptr<Backend> make_loopback(BackendContext context) {
  check_config(context.machine, context.config);
  return std::make_unique<Loopback>(std::move(context));
}

}  // namespace attest::loopback
