#include "lib/net/kernel/netns.h"

#include "lib/base/sys_error.h"
#include "lib/net/kernel/netlink.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>

#include <cerrno>
#include <exception>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>

namespace attest::net {
namespace {

constexpr auto permission = "it needs CAP_SYS_ADMIN: run as root, or with --attest_sandbox=auto";

// A thread takes its creator's mask: no signal may be handled in another namespace than the
// program expects.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

std::thread start(const std::function<void()>& work) {
  SignalsBlocked until_started;
  try {
    return std::thread(work);
  } catch (const std::system_error& error) {
    throw base::sys_error("starting a thread for a network namespace", error.code().value());
  }
}

void on_own_thread(const std::function<void()>& work) {
  std::exception_ptr failure;
  start([&] {
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
}

void require(int result, const std::string& attempt) {
  if (result >= 0) return;
  int code = errno;
  auto error = base::sys_error(attempt, code);
  if (code == EPERM) error.hint(permission);
  throw error;
}

// An address would be "tentative" for up to a second otherwise, though nobody else can have it: the
// kernel waits a random time before it finds that it need not probe. Optional, as IPv6 itself.
void trust_addresses() {
  for (const char* who : {"all", "default"})
    std::ofstream("/proc/sys/net/ipv6/conf/" + std::string(who) + "/accept_dad") << 0;
}

base::Fd enter_new() {
  require(::unshare(CLONE_NEWNET), "making a network namespace");
  trust_addresses();
  Netlink().set_up("lo");
  return base::Fd(base::check(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC),
                              "opening its namespace"));
}

}  // namespace

base::Fd make_netns() {
  base::Fd made;
  on_own_thread([&] { made = enter_new(); });
  return made;
}

void in_netns(const base::Fd& netns, const std::function<void()>& work) {
  on_own_thread([&] {
    require(::setns(netns.get(), CLONE_NEWNET), "entering a network namespace");
    work();
  });
}

}  // namespace attest::net
