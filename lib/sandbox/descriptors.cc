#include "lib/sandbox/descriptors.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace attest::sandbox {
namespace {

void close_between(unsigned first, unsigned last) {
  if (first > last || ::syscall(SYS_close_range, first, last, 0) == 0) return;
  // Before Linux 5.9, or a container's filter that does not know the call.
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  unsigned end = static_cast<unsigned>(std::min<rlim_t>(limit.rlim_cur, 65536));
  for (unsigned fd = first; fd <= last && fd < end; ++fd) ::close(static_cast<int>(fd));
}

}  // namespace

void keep_only(std::initializer_list<int> kept) noexcept {
  unsigned from = 3;
  for (;;) {
    unsigned next = ~0u;
    for (int fd : kept)
      if (static_cast<unsigned>(fd) >= from) next = std::min(next, static_cast<unsigned>(fd));
    close_between(from, next == ~0u ? next : next - 1);
    if (next == ~0u) break;
    from = next + 1;
  }
  if (int null = ::open("/dev/null", O_RDWR); null >= 0) {
    ::dup2(null, 0);
    ::dup2(null, 1);
    if (null > 2) ::close(null);
  }
}

}  // namespace attest::sandbox
