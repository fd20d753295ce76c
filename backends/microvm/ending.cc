// How a guest ended, in words, from what was seen of its monitor and its console.
#include "backends/microvm/monitor_process.h"
#include "lib/base/fatal_line.h"
#include "lib/base/text.h"

namespace attest::microvm {
namespace {

constexpr std::size_t longest_line = 4096;
constexpr std::size_t lines_of_output = 10;

std::string with_last_words(std::string text, const std::string& said) {
  std::string last = last_words(said, lines_of_output);
  return last.empty() ? text : text + ": " + last;
}

}  // namespace

std::string last_words(std::string_view said, std::size_t lines) {
  std::vector<std::string> kept;
  for (auto& line : base::split(base::last_lines(base::trim(said), lines), '\n'))
    kept.emplace_back(base::trim(base::printable(line)));  // which would take the line ends, too
  return base::join(kept, "\n");
}

void ConsoleWatch::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    auto end = bytes.find('\n');
    if (line_.size() < longest_line) line_ += bytes.substr(0, std::min(end, longest_line));
    if (end == std::string_view::npos) return;
    look();
    line_.clear();
    bytes.remove_prefix(end + 1);
  }
}

void ConsoleWatch::look() {
  auto has = [&](const char* part) { return line_.find(part) != std::string::npos; };
  for (std::string_view sign : {"Kernel panic - not syncing", "attest-initrd: FATAL:"})
    if (auto at = line_.find(sign); at != std::string::npos && fatal_.empty())
      fatal_ = base::trim(base::printable(line_.substr(at)));
  halted_ = halted_ || has("reboot: System halted") || has("reboot: Power down");
  rebooted_ = rebooted_ || has("reboot: Restarting system") || has("reboot: machine restart");
}

Gone explain(const Ending& ending) {
  std::string exited = ending.monitor + " " + ending.status.words();
  if (!ending.code_words.empty()) exited += " (" + ending.code_words + ")";
  if (!ending.fatal_line.empty()) return {false, "the guest gave up: '" + ending.fatal_line + "'"};
  if (ending.status.signal || ending.status.code)
    return {false, with_last_words(exited, ending.said)};
  if (ending.halted) return {true, "the guest powered off"};
  if (ending.rebooted) return {true, "the guest rebooted, which ends it (allow_reboot is off)"};
  return {true, "the guest ended (" + exited + ")"};
}

}  // namespace attest::microvm
