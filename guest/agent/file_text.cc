#include "guest/agent/file_text.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace attest::agent {

std::optional<std::string> read_small_file(const char* path, std::size_t limit) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::string text;
  char buffer[4096];
  for (;;) {
    const auto count = read(fd, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0 || text.size() >= limit) break;
    text.append(buffer, static_cast<std::size_t>(count));
  }
  close(fd);
  if (text.size() > limit) text.resize(limit);
  return text;
}

}  // namespace attest::agent
