#include "backends/qemu/virtiofsd.h"

#include "lib/async/child.h"
#include "lib/async/fd_stream.h"
#include "lib/async/within.h"
#include "lib/base/sys_error.h"

#include <fcntl.h>

#include <array>

namespace attest::qemu {
namespace {

// $1 is the directory, the rest the program. Where the mount is refused nothing runs, and the
// caller hears it.
constexpr std::string_view read_only = R"sh(
set -e
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
shift
exec "$@"
)sh";

Task<std::string> read_all(std::unique_ptr<Stream> stream) {
  std::string text;
  std::array<char, 4096> buffer;
  while (auto count = co_await stream->read_some(buffer)) text.append(buffer.data(), count);
  co_return text;
}

}  // namespace

std::string find_virtiofsd() {
  for (const char* name :
       {"virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/lib/virtiofsd"})
    if (auto path = async::find_program(name); !path.empty()) return path;
  return "";
}

bool is_c_virtiofsd(std::string_view version_text) {
  return version_text.find("QEMU") != std::string_view::npos;
}

std::vector<std::string> virtiofsd_command(const VirtiofsdCall& call) {
  std::vector<std::string> words;
  auto add = [&](std::initializer_list<std::string> more) { words.insert(words.end(), more); };
  if (!call.root || !call.writable) {
    add({"unshare", "--mount"});
    if (!call.root) add({"--map-root-user"});
  }
  if (!call.writable)
    add({"sh", "-c", std::string(read_only), "virtiofsd", call.directory.string()});
  std::string fd = "--fd=" + std::to_string(call.listen_fd);
  if (call.is_c) {
    // Its namespaces would need more than a container gives; a raised file limit more than a user
    // may have. In "-o" a comma begins the next option, and a backslash keeps it.
    std::string source;
    for (char byte : call.directory.string()) {
      if (byte == ',' || byte == '\\') source += '\\';
      source += byte;
    }
    add({call.program, "-f", fd, "-o", "source=" + source, "-o", "sandbox=chroot", "-o",
         "log_level=err", "--rlimit-nofile=0"});
  } else {
    add({call.program, fd, "--shared-dir", call.directory.string(), "--sandbox", "chroot",
         "--log-level", "error", "--rlimit-nofile=0"});
  }
  return words;
}

Task<std::string> virtiofsd_version(std::string program, Deadline deadline) {
  auto loop = co_await asio::this_coro::executor;
  auto [ours, theirs] = base::make_pipe();
  async::ChildSpec spec;
  spec.argv = {program, "--version"};
  spec.fds.emplace(2, base::check(::fcntl(theirs.get(), F_DUPFD_CLOEXEC, 0), "duplicating a pipe"));
  spec.fds.emplace(1, std::move(theirs));
  async::Child child(loop, std::move(spec));
  co_return co_await async::within(deadline, "asking '" + program + "' for its version",
                                   read_all(async::make_stream(loop, std::move(ours))));
}

}  // namespace attest::qemu
