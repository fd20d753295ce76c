#include "bare_shell.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace bench {
namespace {

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  return address;
}

// In single quotes, as Python's shlex.quote does for the nixpkgs driver.
std::string quoted(const std::string& text) {
  std::string result = "'";
  for (char c : text) result += c == '\'' ? std::string("'\"'\"'") : std::string(1, c);
  return result + "'";
}

}  // namespace

BareShell::~BareShell() {
  if (fd_ >= 0) ::close(fd_);
}

void BareShell::await(const std::string& text) {
  char buffer[4096];
  for (;;) {
    if (auto at = pending_.find(text); at != std::string::npos) {
      pending_.erase(0, at + text.size());
      return;
    }
    ssize_t count = ::read(fd_, buffer, sizeof buffer);
    if (count <= 0) die("the bare shell ended");
    pending_.append(buffer, static_cast<std::size_t>(count));
  }
}

void BareShell::send(const std::string& text) {
  for (std::size_t sent = 0; sent < text.size();) {
    ssize_t count = ::write(fd_, text.data() + sent, text.size() - sent);
    if (count <= 0) die("writing to the bare shell");
    sent += static_cast<std::size_t>(count);
  }
}

std::string BareShell::line() {
  char buffer[4096];
  for (;;) {
    if (auto end = pending_.find('\n'); end != std::string::npos) {
      std::string text = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return text;
    }
    ssize_t count = ::read(fd_, buffer, sizeof buffer);
    if (count <= 0) die("the bare shell ended");
    pending_.append(buffer, static_cast<std::size_t>(count));
  }
}

int BareShell::nixpkgs_execute(const std::string& command) {
  send("timeout 900 bash -c " + quoted("set -euo pipefail; " + command) +
       " | (base64 -w 0; echo)\n");
  line();
  send("echo ${PIPESTATUS[0]}\n");
  return std::atoi(line().c_str());
}

int listen_at(const std::string& path) {
  int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto address = address_of(path);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener, 1) != 0)
    die(path.c_str());
  return listener;
}

int accept_from(int listener) {
  int connected = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (connected < 0) die("accept");
  return connected;
}

int connect_to(const std::string& path) {
  auto address = address_of(path);
  for (int tries = 0; tries < 1000; ++tries) {
    int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
    ::close(fd);
    ::usleep(10'000);
  }
  die(path.c_str());
}

}  // namespace bench
