#include "lib/base/fd.h"

#include "lib/base/sys_error.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

namespace attest::base {
namespace {

sockaddr_un unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path))
    throw Error(Error::Kind::host, "the socket path '" + path + "' has " +
                                       std::to_string(path.size()) + " bytes, the limit is " +
                                       std::to_string(sizeof(address.sun_path) - 1))
        .hint("use a shorter TMPDIR or work directory");
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Fd unix_socket() {
  return Fd(check(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "making a unix socket"));
}

}  // namespace

std::pair<Fd, Fd> stream_pair() {
  int ends[2];
  check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "making a socket pair");
  return {Fd(ends[0]), Fd(ends[1])};
}

std::pair<Fd, Fd> make_pipe() {
  int ends[2];
  check(::pipe2(ends, O_CLOEXEC), "making a pipe");
  return {Fd(ends[0]), Fd(ends[1])};
}

Fd listen_unix(const std::string& path, int backlog) {
  auto address = unix_address(path);
  Fd listener = unix_socket();
  ::unlink(path.c_str());
  check(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
        "binding the socket '" + path + "'");
  check(::listen(listener.get(), backlog), "listening on '" + path + "'");
  return listener;
}

Fd connect_unix(const std::string& path) {
  auto address = unix_address(path);
  Fd connected = unix_socket();
  check(::connect(connected.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
        "connecting to '" + path + "'");
  return connected;
}

}  // namespace attest::base
