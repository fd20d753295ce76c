#include "lib/net/kernel/tap.h"

#include "attest/error.h"
#include "lib/base/sys_error.h"
#include "lib/net/kernel/links.h"
#include "lib/net/kernel/netns.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace attest::net {
namespace {

constexpr auto device = "/dev/net/tun";

Error unsupported(const std::string& attempt, int code, const std::string& advice) {
  Error error(Error::Kind::unsupported, base::sys_error(attempt, code).what());
  error.hint(advice);
  return error;
}

base::Fd open_device(const std::string& attempt) {
  base::Fd tap(::open(device, O_RDWR | O_CLOEXEC));
  if (tap) return tap;
  int code = errno;
  auto opening = attempt + ": opening " + device;
  if (code == ENOENT || code == ENODEV || code == ENXIO)
    throw unsupported(opening, code,
                      "in a nix build set extra-sandbox-paths = /dev/net; elsewhere 'modprobe tun' "
                      "or, in a container, 'mkdir -p /dev/net; mknod /dev/net/tun c 10 200'");
  if (code == EACCES || code == EPERM)
    throw unsupported(opening, code,
                      "the host's rights count, in a user namespace too: 'chmod 666 /dev/net/tun' "
                      "or a udev rule KERNEL==\"tun\", MODE=\"0666\"; a container may have to "
                      "allow the device");
  throw base::sys_error(opening, code);
}

[[noreturn]] void refuse(int code, const std::string& attempt) {
  if (code == EPERM)
    throw unsupported(attempt, code,
                      "it needs CAP_NET_ADMIN in a network namespace of our own: run with the "
                      "sandbox (attest::main, --attest_sandbox=auto)");
  auto error = base::sys_error(attempt, code);
  if (code == EBUSY) error.hint("another descriptor holds the TAP of this name: close it first");
  if (code == EINVAL) error.hint("an interface of this name that is no such TAP may exist");
  throw error;
}

std::string attempt_one() {
  try {
    auto elsewhere = make_netns();
    in_netns(elsewhere, [] { open_tap("probe"); });
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

base::Fd open_tap(const std::string& name, bool persistent, bool vnet_header) {
  auto attempt = "making the TAP '" + name + "'";
  require_interface_name(name, attempt);
  // The namespace at the time of opening is the one that counts.
  auto tap = open_device(attempt);
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (vnet_header) request.ifr_flags |= IFF_VNET_HDR;
  if (::ioctl(tap.get(), TUNSETIFF, &request) < 0) refuse(errno, attempt);
  if (persistent && ::ioctl(tap.get(), TUNSETPERSIST, 1) < 0)
    throw base::sys_error(attempt + ": making it persistent");
  return tap;
}

const std::string& why_no_tap() {
  static const std::string reason = attempt_one();
  return reason;
}

}  // namespace attest::net
