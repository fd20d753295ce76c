// Tests in network namespaces of their own: what they make there never touches the host's.
#pragma once
#include "lib/base/fd.h"
#include "lib/base/sys_error.h"
#include "lib/net/kernel/netlink.h"
#include "lib/net/kernel/netns.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cstring>
#include <exception>
#include <functional>
#include <string>
#include <thread>

namespace attest::net {

/// Runs `function` on a thread of its own; what it throws comes back.
inline void on_a_thread(const std::function<void()>& function) {
  std::exception_ptr failure;
  std::thread([&] {
    try {
      function();
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
}

inline void enter(const base::Fd& netns) {
  base::check(::setns(netns.get(), CLONE_NEWNET), "entering a network namespace");
}

/// Takes all capabilities from the calling thread, and from no other.
inline void drop_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct none[2]{};
  base::check(static_cast<int>(::syscall(SYS_capset, &header, none)), "dropping capabilities");
}

/// Each test's thread, and all that it starts, is in a new network namespace.
class OwnNetwork : public testing::Test {
 protected:
  void SetUp() override {
    before_.reset(base::check(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), "open"));
    try {
      own_ = make_netns();
      enter(own_);
    } catch (const Error& error) {
      if (!std::strstr(error.what(), "not permitted")) throw;
      GTEST_SKIP() << error.what();
    }
  }
  void TearDown() override {
    if (own_) enter(before_);
  }

  base::Fd before_, own_;
};

/// A UDP socket at `ip`, port 7, of the network namespace that the thread is in.
class Udp {
 public:
  explicit Udp(const std::string& ip) : ip_(ip) {
    bool ipv6 = ip.find(':') != std::string::npos;
    socket_.reset(::socket(ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    auto address = address_of(ip);
    base::check(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
                "binding to " + ip);
  }

  /// Sends `text` until `peer` has it. What is sent before the link is ready may be lost, as on
  /// any network.
  bool reaches(const Udp& peer, const std::string& text, int attempts = 100) const {
    auto address = address_of(peer.ip_);
    for (int attempt = 0; attempt < attempts; ++attempt) {
      ::sendto(socket_.get(), text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&address),
               sizeof address);
      pollfd ready{.fd = peer.socket_.get(), .events = POLLIN, .revents = 0};
      if (::poll(&ready, 1, 100) <= 0) continue;
      char buffer[100];
      auto count = ::recv(peer.socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (count >= 0 && std::string(buffer, static_cast<std::size_t>(count)) == text) return true;
    }
    return false;
  }

 private:
  static sockaddr_in6 address_of(const std::string& ip) {  // big enough for both
    sockaddr_in6 six{.sin6_family = AF_INET6, .sin6_port = htons(7)};
    if (::inet_pton(AF_INET6, ip.c_str(), &six.sin6_addr) == 1) return six;
    sockaddr_in four{.sin_family = AF_INET, .sin_port = htons(7)};
    ::inet_pton(AF_INET, ip.c_str(), &four.sin_addr);
    std::memcpy(&six, &four, sizeof four);
    return six;
  }

  std::string ip_;
  base::Fd socket_;
};

}  // namespace attest::net
