#include "backends/qemu/ending.h"

#include "lib/base/text.h"

#include <string>

namespace attest::qemu {
namespace {

constexpr std::size_t longest_line = 4096;
constexpr std::size_t lines_of_output = 10;

std::string with_output(std::string text, const std::string& output) {
  std::string last = base::last_lines(base::trim(base::printable(output)), lines_of_output);
  return last.empty() ? text : text + ": " + last;
}

}  // namespace

void FatalLine::feed(std::string_view bytes) {
  while (found_.empty() && !bytes.empty()) {
    auto end = bytes.find('\n');
    line_ += bytes.substr(0, std::min(end, longest_line));
    if (line_.size() > longest_line) line_.erase(0, line_.size() - longest_line);
    if (end == std::string_view::npos) return;
    look();
    line_.clear();
    bytes.remove_prefix(end + 1);
  }
}

void FatalLine::look() {
  for (std::string_view sign : {"Kernel panic - not syncing", "attest-initrd: FATAL:"})
    if (auto at = line_.find(sign); at != std::string::npos)
      found_ = base::trim(base::printable(line_.substr(at)));
}

Gone explain(const Ending& ending) {
  if (ending.status.signal)
    return {false, with_output("QEMU " + ending.status.words(), ending.output)};
  if (!ending.fatal_line.empty()) return {false, "the guest gave up: '" + ending.fatal_line + "'"};
  if (ending.status.code)
    return {false, with_output("QEMU " + ending.status.words(), ending.output)};
  if (!ending.shutdown)
    return {false, with_output("QEMU exited with code 0 without saying why", ending.output)};
  auto& reason = ending.shutdown->reason;
  if (reason == "guest-shutdown") return {true, "the guest powered off"};
  if (reason == "guest-reset")
    return {true, "the guest rebooted, which ends it (allow_reboot is off)"};
  if (reason == "guest-panic") return {false, "the guest's kernel panicked"};
  if (reason == "host-signal") return {false, "QEMU was ended by a signal from outside"};
  if (reason == "host-qmp-quit") return {false, "QEMU was told to quit"};
  return {false, with_output("QEMU ended the machine (" + reason + ")", ending.output)};
}

}  // namespace attest::qemu
