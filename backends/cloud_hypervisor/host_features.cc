#include "backends/cloud_hypervisor/host_features.h"

#include "lib/base/owned_fd.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace attest::cloud_hypervisor {

std::string why_no_userfault() {
  base::Fd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
  if (device) return "";
  base::Fd called(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
  if (called) return "";
  return std::string("userfaultfd is not permitted here (") + std::strerror(errno) +
         "): give access to /dev/userfaultfd, or set vm.unprivileged_userfaultfd=1";
}

}  // namespace attest::cloud_hypervisor
