#include "tests/sims/common/socket.h"

#include "lib/base/sys_error.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>
#include <system_error>

namespace attest::sims {
namespace {

// The length is the one thing that tells an abstract name's end.
socklen_t fill(sockaddr_un& address, const std::string& name) {
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name.data(), name.size());
  bool path = name.empty() || name[0] != '\0';
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + (path ? 1 : 0));
}

}  // namespace

base::Fd listen_new(const std::string& path, int backlog) {
  sockaddr_un address{};
  if (path.empty() || path.size() >= sizeof address.sun_path)
    throw std::system_error(path.empty() ? EINVAL : ENAMETOOLONG, std::generic_category());
  base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  socklen_t length = fill(address, path);
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length) < 0 ||
      ::listen(fd.get(), backlog) < 0)
    throw std::system_error(errno, std::generic_category());
  return fd;
}

NamelessListener listen_nameless() {
  NamelessListener made;
  made.fd.reset(
      base::check(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "making a unix socket"));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socklen_t length = sizeof address.sun_family;  // nothing else: the kernel chooses
  base::check(::bind(made.fd.get(), reinterpret_cast<sockaddr*>(&address), length),
              "binding a unix socket");
  base::check(::listen(made.fd.get(), 4), "listening on a unix socket");
  length = sizeof address;
  base::check(::getsockname(made.fd.get(), reinterpret_cast<sockaddr*>(&address), &length),
              "asking for a socket's name");
  made.address.assign(address.sun_path, length - offsetof(sockaddr_un, sun_path));
  return made;
}

base::Fd try_connect(const std::string& name) {
  sockaddr_un address{};
  if (name.empty() || name.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return {};
  }
  base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  socklen_t length = fill(address, name);
  if (!fd || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), length) < 0) {
    int code = errno;
    fd.reset();
    errno = code;
  }
  return fd;
}

}  // namespace attest::sims
