// Machine: commands, and commands that are repeated.
#include "attest/machine.h"
#include "lib/base/text.h"
#include "lib/core/machine_impl.h"
#include "lib/core/process_impl.h"
#include "lib/guest/commands.h"

namespace attest {
namespace {

using Milliseconds = std::chrono::milliseconds;

std::string ended(const std::string& command, const CommandResult& result) {
  return "command `" + command + "` " +
         (result.exit_code ? "failed with exit code " + std::to_string(result.exit_code)
                           : "unexpectedly succeeded");
}

Error command_error(std::string_view command, const CommandResult& result) {
  Error error(Error::Kind::guest, ended(base::dedent(command), result));
  error.attach("stdout, last lines", base::last_lines(result.output, 30));
  error.attach("stderr, last lines", base::last_lines(result.error_output, 30));
  return error;
}

guest::Command in_guest_terms(Command command, const MachineConfig& config) {
  if (command.argv.empty() == command.shell.empty())
    throw Error(Error::Kind::usage, command.argv.empty()
                                        ? "a command has neither 'argv' nor 'shell'"
                                        : "a command has both 'argv' and 'shell'");
  guest::Command made;
  made.shell = base::dedent(command.shell);
  made.argv = std::move(command.argv);
  made.strict = command.strict && !made.shell.empty();
  made.env = config.env;
  for (auto& [key, value] : command.env) made.env[key] = value;
  made.user = std::move(command.user);
  made.cwd = std::move(command.cwd);
  if (!command.input.empty()) made.input = std::move(command.input);
  return made;
}

std::string label_of(const guest::Command& command) {
  if (!command.argv.empty()) return base::shell_join(command.argv);
  return command.shell.substr(0, command.shell.find('\n'));
}

// A wait's command is repeated inside one command of the guest, so it sets its environment itself.
std::string repeated(std::string_view text, const MachineConfig& config) {
  std::string prefix;
  for (auto& [key, value] : config.env)
    prefix += "export " + key + "=" + base::shell_quote(value) + "\n";
  return prefix + base::dedent(text);
}

}  // namespace

CommandResult Machine::execute(std::string_view command, CommandOptions options, Here here) {
  guest::Command made{.shell = base::dedent(command),
                      .argv = {},
                      .strict = options.strict,
                      .env = impl_->config.env};
  return impl_->in_guest(
      impl_->command_limit(options.timeout), Evidence::none, here,
      [made](guest::Guest& guest, Deadline deadline) { return guest.run(made, deadline); });
}

template <class>
CommandResult Machine::run(std::vector<std::string> argv, CommandOptions options, Here here) {
  Command command;
  command.argv = std::move(argv);
  command.timeout = options.timeout;
  return run(std::move(command), here);
}

template CommandResult Machine::run<void>(std::vector<std::string>, CommandOptions, Here);

CommandResult Machine::run(Command command, Here here) {
  auto limit = impl_->command_limit(command.timeout);
  guest::Command made;
  try {
    made = in_guest_terms(std::move(command), impl_->config);
  } catch (const Error& e) {
    throw impl_->of_this(e, here);
  }
  return impl_->in_guest(
      limit, Evidence::none, here,
      [made](guest::Guest& guest, Deadline deadline) { return guest.run(made, deadline); });
}

Process Machine::spawn(Command command, Here here) {
  auto limit = command.timeout;
  guest::Command made;
  try {
    made = in_guest_terms(std::move(command), impl_->config);
  } catch (const Error& e) {
    throw impl_->of_this(e, here);
  }
  if (!made.input) made.input = "";  // open, for Process::write()
  impl_->fleet.polling->check(here);
  auto spawned = impl_->call(impl_->spawn(std::move(made), label_of(made), limit), here);
  return Process(std::unique_ptr<Process::Impl>(new Process::Impl{
      impl_->fleet.calls, impl_->fleet, impl_->timeouts.wait, std::move(spawned)}));
}

std::string Machine::succeed(std::string_view command, CommandOptions options, Here here) {
  auto result = execute(command, options, here);
  if (result.exit_code != 0) throw impl_->of_this(command_error(command, result), here);
  return std::move(result.output);
}

std::string Machine::succeed(std::initializer_list<std::string_view> commands,
                             CommandOptions options, Here here) {
  std::string all;
  for (auto command : commands) all += succeed(command, options, here);
  return all;
}

std::string Machine::fail(std::string_view command, CommandOptions options, Here here) {
  auto result = execute(command, options, here);
  if (result.exit_code == 0) throw impl_->of_this(command_error(command, result), here);
  return std::move(result.output);
}

std::string Machine::fail(std::initializer_list<std::string_view> commands, CommandOptions options,
                          Here here) {
  std::string all;
  for (auto command : commands) all += fail(command, options, here);
  return all;
}

void Machine::sleep(Milliseconds span, Here here) {
  auto longest = Milliseconds(std::chrono::hours(24 * 365));
  auto limit = std::min(span, longest) + impl_->timeouts.command;
  impl_->in_guest(limit, Evidence::none, here, [span](guest::Guest& guest, Deadline deadline) {
    return guest::sleep(guest, span, deadline);
  });
}

std::string Machine::wait_until_succeeds(std::string_view command, RepeatOptions options,
                                         Here here) {
  return impl_->in_guest(
      impl_->wait_limit(options.timeout), Evidence::units_and_journal, here,
      [made = repeated(command, impl_->config), options](guest::Guest& guest, Deadline deadline) {
        return guest::wait_until_succeeds(guest, made, deadline, options.interval);
      });
}

std::string Machine::wait_until_fails(std::string_view command, RepeatOptions options, Here here) {
  return impl_->in_guest(
      impl_->wait_limit(options.timeout), Evidence::units_and_journal, here,
      [made = repeated(command, impl_->config), options](guest::Guest& guest, Deadline deadline) {
        return guest::wait_until_fails(guest, made, deadline, options.interval);
      });
}

}  // namespace attest
