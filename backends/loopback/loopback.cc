#include "backends/loopback/loopback.h"

#include "lib/async/child.h"
#include "lib/async/fd_stream.h"
#include "lib/async/within.h"
#include "lib/base/sys_error.h"

#include <fcntl.h>

#include <array>
#include <csignal>
#include <optional>
#include <utility>

namespace attest::loopback {
namespace {

// $1 is the shell, $2 its script argument. sh stays pid 1 of the namespace and reaps.
constexpr std::string_view inside = R"sh(
trap : TERM
if [ "$3" = isolated ];then
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs -o mode=755 run /run
ip link set lo up
fi 2>/dev/null
export USER=root HOME=/root DISPLAY=:0.0
if [ -r /etc/profile ];then . /etc/profile;fi
export PAGER=
cd /tmp
echo 'connecting to host...' >&2
echo 'Spawning backdoor root shell...'
PS1= $1 $2
exit 0
)sh";

// $1 is the text above. What is not permitted (containers, other users) is done without.
constexpr std::string_view outside = R"sh(
map=;[ "$(id -u)" = 0 ]||map=--map-root-user
net=;command -v ip >/dev/null&&net=--net
flags="$map --mount --pid --fork --kill-child=KILL --mount-proc"
for try in "$flags $net" "$flags";do
unshare $try true 2>/dev/null&&exec unshare $try sh -c "$1" loopback "$2" "$3" isolated
done
exec sh -c "$1" loopback "$2" "$3" shared
)sh";

class Loopback final : public Backend {
 public:
  explicit Loopback(BackendContext context) : context_(std::move(context)) {}

  std::string_view name() const override { return "loopback"; }

  Task<std::unique_ptr<Stream>> boot(Deadline) override {
    kill();
    auto [ours, theirs] = base::stream_pair();
    auto [lines, errors] = base::make_pipe();
    async::ChildSpec spec;
    spec.argv = shell_command_line(context_.config.loopback.shell);
    spec.fds.emplace(0, base::Fd(base::check(::fcntl(theirs.get(), F_DUPFD_CLOEXEC, 0),
                                             "duplicating a socket")));
    spec.fds.emplace(1, std::move(theirs));
    spec.fds.emplace(2, std::move(errors));
    child_.emplace(context_.loop, std::move(spec));
    // It ends with the pipe, and reports nothing.
    asio::co_spawn(context_.loop,
                   forward(async::make_stream(context_.loop, std::move(lines)), context_.console),
                   [](std::exception_ptr) {});
    co_return async::make_stream(context_.loop, std::move(ours));
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
  // An environment of its own: what the host has exported does not reach the machine.
  return {"env",
          "-i",
          "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
          "sh",
          "-c",
          std::string(outside),
          "loopback",
          std::string(inside),
          shell == "bash" ? "bash --norc" : shell,
          terminal ? "/proc/self/fd/0" : ""};
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
      {"mounts", !config.mounts.empty()},
      {"files", !config.files.empty()},
      {"credentials", !config.credentials.empty()},
      {"extra_args", !config.extra_args.empty()},
      {"graphics", config.graphics},
      {"internet", config.internet},
  };
  for (auto& [key, given] : asked)
    if (given)
      throw Error(Error::Kind::unsupported,
                  "machines." + machine + "." + key +
                      ": a loopback machine is a shell on this host and has none")
          .hint("remove the key, or use backend qemu");
}

std::unique_ptr<Backend> make_loopback(BackendContext context) {
  check_config(context.machine, context.config);
  return std::make_unique<Loopback>(std::move(context));
}

}  // namespace attest::loopback
