#include "guest/agent/pty.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <charconv>
#include <string>

namespace attest::agent {
namespace {

std::optional<unsigned short> number(std::string_view text) {
  unsigned short value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<Size> parse_size(std::string_view text) {
  const auto x = text.find('x');
  if (x == text.npos) return std::nullopt;
  auto rows = number(text.substr(0, x)), columns = number(text.substr(x + 1));
  if (!rows || !columns) return std::nullopt;
  return Size{*rows, *columns};
}

std::optional<Terminal> open_terminal(Size size) {
  Terminal terminal;
  terminal.ours.reset(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  int unlocked = 0;
  unsigned index = 0;
  if (!terminal.ours || ioctl(terminal.ours.get(), TIOCSPTLCK, &unlocked) != 0 ||
      ioctl(terminal.ours.get(), TIOCGPTN, &index) != 0)
    return std::nullopt;
  const auto path = "/dev/pts/" + std::to_string(index);
  terminal.theirs.reset(open(path.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.theirs || !resize_terminal(terminal.ours.get(), size)) return std::nullopt;
  return terminal;
}

bool resize_terminal(int ours, Size size) {
  winsize window{size.rows, size.columns, 0, 0};
  return ioctl(ours, TIOCSWINSZ, &window) == 0;
}

}  // namespace attest::agent
