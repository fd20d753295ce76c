#include "guest/agent/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace attest::agent {

std::string_view error_text(int code) {
  // From the C library's table: strerror() would bring translations along.
#if defined(__GLIBC__)
  if (const char* text = strerrordesc_np(code)) return text;
  return "unknown error";
#else
  return strerror(code);
#endif
}

std::string cannot(std::string_view verb, std::string_view path, int code) {
  std::string text = "cannot ";
  text.append(verb).append(" '").append(path).append("': ").append(error_text(code));
  return text;
}

std::int64_t mtime_ns(const struct stat& status) {
  return std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

namespace {
std::string_view type_word(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "file";
    case S_IFDIR:
      return "directory";
    case S_IFLNK:
      return "symlink";
    case S_IFSOCK:
      return "socket";
    case S_IFIFO:
      return "fifo";
    case S_IFCHR:
      return "character";
    default:
      return "block";
  }
}

std::string octal(mode_t mode) {
  std::string digits;
  for (mode &= 07777; mode != 0; mode >>= 3)
    digits.insert(digits.begin(), static_cast<char>('0' + (mode & 7)));
  return "0" + digits;
}
}  // namespace

void add_stat(AgentFields& fields, const struct stat& status) {
  fields.add("type", type_word(status.st_mode)).add("mode", octal(status.st_mode));
  fields.add("size", std::int64_t{status.st_size});
  fields.add("uid", std::int64_t{status.st_uid}).add("gid", std::int64_t{status.st_gid});
  fields.add("mtime_ns", mtime_ns(status));
}

void add_target(AgentFields& fields, int at, const char* name, const struct stat& status) {
  if (!S_ISLNK(status.st_mode)) return;
  char target[4096];
  ssize_t size = readlinkat(at, name, target, sizeof target);
  if (size >= 0) fields.add("target", std::string_view(target, static_cast<std::size_t>(size)));
}

std::string directory_of(std::string_view path) {
  auto slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return slash == 0 ? "/" : std::string(path.substr(0, slash));
}

std::string name_of(std::string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

std::string without_end_slashes(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return std::string(path);
}

int make_directories(const std::string& path) {
  if (mkdir(path.c_str(), 0755) == 0) return 0;
  if (errno == ENOENT && path.size() > 1 && path != ".") {
    if (int failed = make_directories(directory_of(path))) return failed;
    if (mkdir(path.c_str(), 0755) == 0) return 0;
  }
  int code = errno;
  struct stat status;
  if (stat(path.c_str(), &status) == 0) return S_ISDIR(status.st_mode) ? 0 : ENOTDIR;
  return code;
}

std::string unfinished_name() {
  static int count = 0;
  return ".attest-" + std::to_string(getpid()) + "-" + std::to_string(++count);
}

std::size_t write_all(int fd, std::string_view bytes) {
  std::size_t written = 0;
  while (written < bytes.size()) {
    ssize_t size = write(fd, bytes.data() + written, bytes.size() - written);
    if (size > 0) written += static_cast<std::size_t>(size);
    if (size == 0) errno = ENOSPC;
    if (size == 0 || (size < 0 && errno != EINTR)) break;
  }
  return written;
}

bool refuse_path(std::string_view path, Output& out) {
  std::string why;
  if (path.empty()) {
    why = "an empty path";
  } else if (path.find('\0') != std::string_view::npos) {
    why = "a path with a NUL byte";
  } else if (path[0] != '/') {
    why = "'" + std::string(path) + "' is no absolute path";
  }
  if (!why.empty()) out.error("usage", why);
  return !why.empty();
}

void Turn::again(Loop::Callback callback) {
  if (timer_ != 0) return;
  timer_ = loop_.at(Clock::now(), [this, callback = std::move(callback)] {
    timer_ = 0;
    callback();
  });
}

}  // namespace attest::agent
