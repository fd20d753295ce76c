// Directories of the host in the machine: the config's mounts, and /tmp/shared.
#include "lib/base/text.h"
#include "lib/core/machine_impl.h"
#include "lib/guest/host_tree.h"
#include "lib/guest/poll.h"

#include <boost/asio/steady_timer.hpp>

namespace attest {
namespace {

constexpr auto seen_in_guest = "/tmp/shared";

// The device may have been plugged in a moment ago, so that mount fails at first.
std::string mount_probe(const FileSharing::Mount& mount, const std::string& at) {
  using base::shell_quote;
  std::string options = mount.options.empty() ? "" : " -o " + shell_quote(mount.options);
  return "mkdir -p " + shell_quote(at) + " && mount -t " + shell_quote(mount.type) + options + " " +
         shell_quote(mount.source) + " " + shell_quote(at) + " 2>&1 || exit 1";
}

}  // namespace

Task<bool> Machine::Impl::share(core::Running& run, MountConfig mount, Deadline deadline) {
  auto* sharing = backend_->file_sharing();
  if (!sharing) co_return false;
  FileSharing::Mount made;
  try {
    made = co_await sharing->share(mount.host, mount.guest, mount.writable, deadline);
  } catch (const Error& e) {
    if (e.kind() == Error::Kind::unsupported) co_return false;
    throw;
  }
  if (made.type.empty()) co_return true;
  auto goal = "'" + mount.host + "' to be mounted at " + mount.guest;
  co_await guest::wait_for(*run.guest, goal, mount_probe(made, mount.guest), deadline);
  co_return true;
}

Task<void> Machine::Impl::make_mounts(std::shared_ptr<core::Running> run, Deadline deadline) {
  for (auto& mount : config.mounts) {
    std::exception_ptr failure;
    try {
      if (!co_await share(*run, mount, deadline)) {
        auto tree = guest::read_tree(mount.host);
        co_await run->guest->send_tree(*tree, mount.guest, deadline);
      }
    } catch (Error& e) {
      e.during("showing '" + mount.host + "' to machine '" + name + "' as " + mount.guest);
      failure = std::make_exception_ptr(e);
    }
    if (failure) std::rethrow_exception(failure);
  }
}

Task<std::filesystem::path> Machine::Impl::shared_dir() {
  auto run = co_await ready_guest();
  if (auto dir = backend_->shared_dir(); !dir.empty()) co_return dir;
  auto dir = std::filesystem::absolute(fleet.setup.work_dir / "shared-xchg");
  std::filesystem::create_directories(dir);
  auto lock = co_await run->readying.lock();
  if (run->shared) co_return dir;
  MountConfig mount{.host = dir.string(), .guest = seen_in_guest, .writable = true};
  auto deadline = fleet.limit(timeouts.command);
  std::exception_ptr failure;
  try {
    run->shared = co_await async::unless(core::Running::doom(run), share(*run, mount, deadline));
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) co_await explain(run, failure, Evidence::none);
  if (!run->shared)
    throw has_no("directory that it shares with the host",
                 "use copy_from_host() and copy_from_machine()");
  co_return dir;
}

}  // namespace attest
