#include "lib/net/kernel/netns.h"

#include "lib/base/sys_error.h"
#include "lib/net/kernel/netlink.h"

#include <fcntl.h>
#include <sched.h>

#include <cerrno>
#include <exception>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>

namespace attest::net {
namespace {

// An address would be "tentative" for up to a second otherwise, though nobody else can have it: the
// kernel waits a random time before it finds that it need not probe. Optional, as IPv6 itself.
void trust_addresses() {
  for (const char* who : {"all", "default"})
    std::ofstream("/proc/sys/net/ipv6/conf/" + std::string(who) + "/accept_dad") << 0;
}

base::Fd enter_new() {
  if (::unshare(CLONE_NEWNET) < 0) {
    int code = errno;
    auto error = base::sys_error("making a network namespace for a container", code);
    if (code == EPERM)
      error.hint("it needs CAP_SYS_ADMIN: run as root, or with --attest_sandbox=auto");
    throw error;
  }
  trust_addresses();
  Netlink().set_up("lo");
  return base::Fd(base::check(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC),
                              "opening its namespace"));
}

}  // namespace

base::Fd make_netns() {
  base::Fd made;
  std::exception_ptr failure;
  try {
    std::thread([&] {
      try {
        made = enter_new();
      } catch (...) {
        failure = std::current_exception();
      }
    }).join();
  } catch (const std::system_error& error) {
    throw base::sys_error("starting a thread for a network namespace", error.code().value());
  }
  if (failure) std::rethrow_exception(failure);
  return made;
}

}  // namespace attest::net
