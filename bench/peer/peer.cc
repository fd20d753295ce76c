// The other side of the benches inside a guest: a static program on a virtio port of its own, or on
// a unix socket that a container shares with its host, that does on one byte what is measured, with
// nothing in between. Byte by byte:
//   e  answers at once            t  forks, executes /bin/true, waits for it
//   f  makes a file, F removes it p  listens on TCP port 7777, P closes it
//   n  tells systemd READY=1      q  ends
//   i  takes as many bytes as the next eight say (little-endian), o  sends as many
//   I  takes them into the file, O sends them from it
// Each is answered by the same byte when it is done (o: after the bytes).
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

int open_port(const char* name) {
  constexpr char ports[] = "/sys/class/virtio-ports";
  DIR* dir = ::opendir(ports);
  if (!dir) die(ports);
  while (dirent* entry = ::readdir(dir)) {
    char path[512], found[128] = {};
    std::snprintf(path, sizeof path, "%s/%s/name", ports, entry->d_name);
    int fd = ::open(path, O_RDONLY);
    if (fd < 0) continue;
    ssize_t count = ::read(fd, found, sizeof found - 1);
    ::close(fd);
    if (count <= 0 || std::strncmp(found, name, std::strlen(name)) != 0) continue;
    std::snprintf(path, sizeof path, "/dev/%s", entry->d_name);
    if (fd = ::open(path, O_RDWR); fd >= 0) return fd;
  }
  die(name);
}

int dial(const char* path) {
  int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die(path);
  return fd;
}

void all(int fd, bool out, char* bytes, std::size_t size) {
  while (size > 0) {
    ssize_t count = out ? ::write(fd, bytes, size) : ::read(fd, bytes, size);
    if (count <= 0) die("the port");
    bytes += count;
    size -= static_cast<std::size_t>(count);
  }
}

void run_true() {
  pid_t pid = ::vfork();
  if (pid == 0) {
    ::execl("/bin/true", "true", nullptr);
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
}

int listen_on_7777() {
  int fd = ::socket(AF_INET, SOCK_STREAM, 0), on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(7777);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) || ::listen(fd, 8))
    die("port 7777");
  return fd;
}

void notify() {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (!path) return;
  int fd = ::socket(AF_UNIX, SOCK_DGRAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  if (path[0] == '@') address.sun_path[0] = 0;
  auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path));
  ::sendto(fd, "READY=1", 7, 0, reinterpret_cast<sockaddr*>(&address), size);
  ::close(fd);
}

void transfer(int port, bool out, int file) {
  static char buffer[64 << 10];
  std::uint64_t left = 0;
  all(port, false, reinterpret_cast<char*>(&left), sizeof left);
  while (left > 0) {
    std::size_t piece = left < sizeof buffer ? left : sizeof buffer;
    if (out && file >= 0) all(file, false, buffer, piece);
    all(port, out, buffer, piece);
    if (!out && file >= 0) all(file, true, buffer, piece);
    left -= piece;
  }
  ::close(file);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) die("usage: bench-peer PORT-NAME|/SOCKET FILE");
  int port = argv[1][0] == '/' ? dial(argv[1]) : open_port(argv[1]), listener = -1;
  for (;;) {
    char what = 0;
    // Not read() alone: all ports share an interrupt, and the driver wakes whoever waits for one
    // whose last output it has not reclaimed, at each of them. poll() reclaims it.
    pollfd waiting{.fd = port, .events = POLLIN, .revents = 0};
    ::poll(&waiting, 1, -1);
    all(port, false, &what, 1);
    switch (what) {
      case 't':
        run_true();
        break;
      case 'f':
        ::close(::open(argv[2], O_CREAT | O_WRONLY, 0644));
        break;
      case 'F':
        ::unlink(argv[2]);
        break;
      case 'p':
        listener = listen_on_7777();
        break;
      case 'P':
        ::close(listener);
        break;
      case 'n':
        notify();
        break;
      case 'i':
        transfer(port, false, -1);
        break;
      case 'o':
        transfer(port, true, -1);
        break;
      case 'I':
        transfer(port, false, ::open(argv[2], O_CREAT | O_TRUNC | O_WRONLY, 0644));
        break;
      case 'O':
        transfer(port, true, ::open(argv[2], O_RDONLY));
        break;
      default:
        break;
    }
    all(port, true, &what, 1);
    if (what == 'q') return 0;
  }
}
