#include "lib/guest/diagnosis.h"

#include "attest/error.h"
#include "lib/base/text.h"

#include <chrono>

namespace attest::guest {
namespace {

Task<std::string> ask(Guest& guest, std::string what, std::string shell, Deadline deadline) {
  Command command;
  command.shell = "[ -d /run/systemd/system ]||exit 0\n" + shell;
  command.strict = false;
  deadline = deadline.earlier(Deadline::after(std::chrono::seconds(10)));
  std::string answer;
  try {
    auto result = co_await guest.run(command, deadline);
    answer = base::trim(result.output);
    if (result.exit_code != 0 && answer.empty())
      answer = "(" + what + ": " +
               std::string(base::trim(base::last_lines(result.error_output, 1))) + ")";
  } catch (const Error& error) {
    std::string_view reason = error.what();
    answer = "(" + what + ": " + std::string(reason.substr(0, reason.find('\n'))) + ")";
  }
  co_return answer;
}

}  // namespace

Task<std::string> failed_units(Guest& guest, Deadline deadline) {
  return ask(guest, "the failed units are not known",
             "systemctl --no-pager --plain --no-legend list-units --state=failed", deadline);
}

Task<std::string> journal_tail(Guest& guest, std::string unit, int lines, Deadline deadline) {
  std::string shell = "journalctl --no-pager -q -o short-monotonic -n " + std::to_string(lines);
  if (!unit.empty()) shell += " -u " + base::shell_quote(unit);
  return ask(guest, "the journal cannot be read", shell, deadline);
}

}  // namespace attest::guest
