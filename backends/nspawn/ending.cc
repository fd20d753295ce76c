#include "backends/nspawn/ending.h"

#include "lib/base/text.h"

#include <algorithm>
#include <vector>

namespace attest::nspawn {
namespace {

constexpr std::size_t lines_of_output = 10;
// Enough for a hundred containers.
constexpr int better_limit = 1024;

}  // namespace

bool says_ready(std::string_view message) {
  for (auto& line : base::split(message, '\n'))
    if (line == "READY=1") return true;
  return false;
}

std::string inotify_advice(std::string_view output, int limit) {
  bool named = output.find("inotify") != std::string_view::npos &&
               (output.find("Too many open files") != std::string_view::npos ||
                output.find("No space left") != std::string_view::npos);
  bool manager = output.find("Failed to allocate manager object: Too many open files") !=
                 std::string_view::npos;
  if (!named && !manager) return "";
  return "there are no inotify instances left: fs.inotify.max_user_instances is " +
         std::to_string(limit) +
         ", which all containers of a user share, and each takes 5 or more; run 'sysctl "
         "fs.inotify.max_user_instances=" +
         std::to_string(std::max(better_limit, 2 * limit)) + "' as root";
}

Gone explain(const Ending& ending) {
  if (ending.status.signal == 0 && ending.status.code == 0)
    return {true, "the container powered off"};
  if (ending.status.signal == 0 && ending.status.code == reboot_code)
    return {true, "the container rebooted, which ends it (allow_reboot is off)"};
  std::string text = "systemd-nspawn " + ending.status.words();
  if (!ending.started) text += " before the machine was up";
  if (auto advice = inotify_advice(ending.output, ending.inotify_limit); !advice.empty())
    text += ": " + advice;
  std::vector<std::string> lines;
  for (auto& line : base::split(base::last_lines(base::trim(ending.output), lines_of_output), '\n'))
    if (auto plain = base::printable(base::trim(line)); !plain.empty()) lines.push_back(plain);
  std::string last = base::join(lines, "\n  ");
  return {false, last.empty() ? text : text + ": " + last};
}

}  // namespace attest::nspawn
