#include "bare_monitor.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace bench {
namespace {

constexpr int attempts = 20'000;  // 1 ms between them

[[noreturn]] void die(const std::string& what) {
  std::perror(what.c_str());
  std::exit(1);
}

int try_connect(const std::string& path) {
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  ::close(fd);
  return -1;
}

// Up to and with `end`; "" if the connection ends before.
std::string read_until(int fd, const std::string& end) {
  std::string text;
  char byte = 0;
  while (!text.ends_with(end)) {
    if (::read(fd, &byte, 1) != 1) return {};
    text += byte;
  }
  return text;
}

}  // namespace

BareMonitor::BareMonitor(const std::string& program, const std::string& dir) : dir_(dir) {
  std::string socket = dir + "/api";
  pid_ = ::fork();
  if (pid_ == 0) {
    int null = ::open("/dev/null", O_RDWR);
    for (int fd : {0, 1, 2}) ::dup2(null, fd);
    if (::chdir(dir.c_str()) != 0) ::_exit(126);
    ::execl(program.c_str(), program.c_str(), "--api-sock", socket.c_str(), nullptr);
    ::_exit(127);
  }
  for (int i = 0; api_ < 0 && i < attempts; ++i) {
    api_ = try_connect(socket);
    if (api_ < 0) ::usleep(1000);
  }
  if (api_ < 0) die("connecting to the bare monitor");
}

BareMonitor::~BareMonitor() {
  if (api_ >= 0) ::close(api_);
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  ::unlink((dir_ + "/api").c_str());
}

void BareMonitor::request(const std::string& method, const std::string& path,
                          const std::string& body) {
  std::string text = method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: " +
                     "application/json\r\nContent-Length: " + std::to_string(body.size()) +
                     "\r\n\r\n" + body;
  if (::write(api_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    die("writing to the bare monitor");
  auto head = read_until(api_, "\r\n\r\n");
  if (head.find(" 204 ") == head.npos && head.find(" 200 ") == head.npos) {
    std::fprintf(stderr, "the bare monitor refused %s %s: %s\n", method.c_str(), path.c_str(),
                 head.c_str());
    char rest[2000] = {};
    if (::read(api_, rest, sizeof rest - 1) > 0) std::fprintf(stderr, "%s\n", rest);
    std::exit(1);
  }
}

int BareMonitor::connect_guest(const std::string& path, int port) {
  std::string line = "CONNECT " + std::to_string(port) + "\n";
  for (int i = 0; i < attempts; ++i) {
    int fd = try_connect(path);
    if (fd >= 0) {
      if (::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size()) &&
          read_until(fd, "\n").starts_with("OK "))
        return fd;
      ::close(fd);
    }
    ::usleep(1000);
  }
  die("connecting to the bare monitor's guest");
}

}  // namespace bench
