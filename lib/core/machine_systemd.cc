// Machine: systemd's units and journal. Waiting for a unit is in lib/guest/units.
#include "attest/machine.h"

#include <algorithm>
#include <iterator>

#include "lib/base/text.h"
#include "lib/core/machine_impl.h"

namespace attest {
namespace {

std::string about(std::string_view unit, const UnitOptions& options) {
  std::string text = "unit '" + std::string(unit) + "'";
  return options.user.empty() ? text : text + " of user '" + options.user + "'";
}

Error systemctl_failed(const std::string& what, const CommandResult& result) {
  Error error(Error::Kind::guest,
              what + " failed with exit code " + std::to_string(result.exit_code));
  error.attach("stdout, last lines", base::last_lines(result.output, 10));
  error.attach("stderr, last lines", base::last_lines(result.error_output, 10));
  return error;
}

// A name from the test is one word, and never an option.
std::string quoted(std::string_view name) { return "-- " + base::shell_quote(name); }

std::vector<std::string> journal_arguments(const JournalOptions& options) {
  std::vector<std::string> argv{"journalctl", "--no-pager", "--quiet"};
  if (!options.unit.empty()) argv.push_back("--unit=" + options.unit);
  if (options.lines > 0) argv.push_back("--lines=" + std::to_string(options.lines));
  argv.push_back(options.since.empty() ? "--boot" : "--since=" + options.since);
  return argv;
}

}  // namespace

CommandResult Machine::systemctl(std::string_view arguments, UnitOptions options, Here here) {
  Command command;
  command.strict = false;
  command.timeout = options.timeout;
  command.shell = "systemctl --no-pager " + std::string(arguments);
  if (!options.user.empty()) {
    command.user = options.user;
    command.shell = "export XDG_RUNTIME_DIR=/run/user/$(id -u)\nsystemctl --user --no-pager " +
                    std::string(arguments);
  }
  return run(std::move(command), here);
}

CommandResult Machine::start_job(std::string_view job, UnitOptions options, Here here) {
  return systemctl("start " + quoted(job), options, here);
}

CommandResult Machine::stop_job(std::string_view job, UnitOptions options, Here here) {
  return systemctl("stop " + quoted(job), options, here);
}

std::map<std::string, std::string> Machine::get_unit_info(std::string_view unit,
                                                          UnitOptions options, Here here) {
  auto result = systemctl("show " + quoted(unit), options, here);
  if (result.exit_code != 0)
    throw impl_->of_this(
        systemctl_failed("retrieving systemctl info for " + about(unit, options), result), here);
  std::map<std::string, std::string> info;
  std::string* last = nullptr;
  for (auto& line : base::split(base::trim(result.output), '\n')) {
    auto equals = line.find('=');
    bool is_key = equals != std::string::npos && equals > 0 &&
                  line.find_first_of(" \t{") >= equals;  // values may have several lines
    if (is_key)
      last = &(info[line.substr(0, equals)] = line.substr(equals + 1));
    else if (last)
      *last += "\n" + line;
  }
  return info;
}

std::string Machine::get_unit_property(std::string_view unit, std::string_view property,
                                       UnitOptions options, Here here) {
  auto asked = "show --property=" + base::shell_quote(property) + " " + quoted(unit);
  auto result = systemctl(asked, options, here);
  auto what =
      "retrieving systemctl property '" + std::string(property) + "' for " + about(unit, options);
  if (result.exit_code != 0) throw impl_->of_this(systemctl_failed(what, result), here);
  std::string text(base::trim(result.output));
  if (!text.starts_with(std::string(property) + "="))
    throw impl_->of_this(Error(Error::Kind::guest, what + " failed: it has no such property"),
                         here);
  return text.substr(property.size() + 1);
}

void Machine::require_unit_state(std::string_view unit, std::string_view state, UnitOptions options,
                                 Here here) {
  auto now = get_unit_property(unit, "ActiveState", options, here);
  if (now == state) return;
  Error error(Error::Kind::guest, "expected " + about(unit, options) + " to be in state '" +
                                      std::string(state) + "' but it is in state '" + now + "'");
  auto status = systemctl("status " + quoted(unit), options, here);
  throw impl_->of_this(error.attach("its status", status.output), here);
}

std::string Machine::journal(JournalOptions options, Here here) {
  Command command;
  // journald stores what it was sent when it gets to it; --sync waits for all that was sent before
  // (journalctl(1)). Without an answer, what is stored has to do.
  command.argv = {"sh", "-c", "timeout 5 journalctl --sync >/dev/null 2>&1; exec \"$@\"", "sh"};
  std::ranges::move(journal_arguments(options), std::back_inserter(command.argv));
  command.timeout = options.timeout;
  auto result = run(std::move(command), here);
  if (result.exit_code == 0) return std::move(result.output);
  throw impl_->of_this(systemctl_failed("reading the journal", result), here);
}

Process Machine::journal_follow(JournalOptions options, Here here) {
  Command command;
  command.argv = journal_arguments(options);
  command.argv.push_back("--follow");
  command.timeout = options.timeout;
  return spawn(std::move(command), here);
}

}  // namespace attest
