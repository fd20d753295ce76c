#include "lib/sandbox/namespaces.h"

#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace attest::sandbox {
namespace {

using base::Fd;

int flags_of(const NamespacePlan& plan) {
  return CLONE_NEWNET | CLONE_NEWNS | (plan.user ? CLONE_NEWUSER : 0) |
         (plan.pid ? CLONE_NEWPID : 0);
}

// The kernel wants each of these files written by one write(2).
bool write_whole(const char* path, const std::string& text) {
  Fd file(::open(path, O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

bool write_id_maps(const NamespacePlan& plan) {
  // A process that changed its ids is not "dumpable" and its /proc files belong to root: EACCES.
  ::prctl(PR_SET_DUMPABLE, 1);
  return write_whole("/proc/self/setgroups", "deny") &&
         write_whole("/proc/self/gid_map", "0 " + std::to_string(plan.gid) + " 1") &&
         write_whole("/proc/self/uid_map", "0 " + std::to_string(plan.uid) + " 1");
}

bool raise_loopback() {
  Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return false;
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  return ::ioctl(socket.get(), SIOCSIFFLAGS, &request) == 0;
}

// The mount points directly below /sys's own mount (cgroups above all), as mountinfo lists them.
std::vector<std::string> mounts_below_sys() {
  std::vector<std::string> points;
  for (const auto& line :
       base::split(base::try_read_file("/proc/self/mountinfo").value_or(""), '\n')) {
    auto fields = base::split(line, ' ');
    if (fields.size() < 5 || !fields[4].starts_with("/sys/")) continue;
    if (!points.empty() && fields[4].starts_with(points.back() + "/")) continue;
    points.push_back(fields[4]);
  }
  return points;
}

// The host's /sys shows the host's interfaces; a fresh one shows ours. All of this is optional
// (a container's sysfs is often locked): what fails is ignored and the host's /sys stays, since
// everything in attest uses netlink. The mounts below it are carried over, for nspawn's cgroups.
void mount_sys() {
  std::vector<std::pair<std::string, Fd>> below;
  for (auto& point : mounts_below_sys())
    if (Fd place(::open(point.c_str(), O_PATH | O_CLOEXEC)); place)
      below.emplace_back(std::move(point), std::move(place));
  if (::mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) return;
  for (const auto& [point, place] : below) {
    std::string source = "/proc/self/fd/" + std::to_string(place.get());
    ::mount(source.c_str(), point.c_str(), nullptr, MS_BIND | MS_REC, nullptr);
  }
}

}  // namespace

pid_t clone_into(const NamespacePlan& plan) {
  // Not unshare() and fork(): that would leave a third process in between, and a kernel refuses
  // unshare() where a sanitizer runs a thread of its own.
  return static_cast<pid_t>(
      ::syscall(SYS_clone, static_cast<unsigned long>(flags_of(plan) | SIGCHLD), 0, 0, 0, 0));
}

std::optional<Refusal> move_into(const NamespacePlan& plan) {
  if (::unshare(flags_of(plan)) != 0) return Refusal{Step::make_namespaces, errno};
  return furnish(plan);
}

std::optional<Refusal> furnish(const NamespacePlan& plan) {
  if (plan.user && !plan.mapped && !write_id_maps(plan)) return Refusal{Step::write_id_maps, errno};
  // Otherwise our mounts would propagate to the host.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return Refusal{Step::make_mounts_private, errno};
  if (plan.pid && ::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
    return Refusal{Step::mount_proc, errno};
  mount_sys();
  if (!raise_loopback()) return Refusal{Step::raise_loopback, errno};
  return std::nullopt;
}

}  // namespace attest::sandbox
