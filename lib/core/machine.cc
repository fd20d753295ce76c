// The blocking face of a machine: each call is one hop onto the loop. The work is in
// machine_impl.cc (lifecycle) and lib/guest (what is done inside the machine).
#include "attest/machine.h"

#include "lib/base/text.h"
#include "lib/core/machine_impl.h"
#include "lib/guest/commands.h"
#include "lib/guest/ports.h"
#include "lib/guest/units.h"

namespace attest {
namespace {

using Evidence = Machine::Impl::Evidence;

std::string ended(const std::string& command, const CommandResult& result) {
  return "command `" + command + "` " +
         (result.exit_code ? "failed with exit code " + std::to_string(result.exit_code)
                           : "unexpectedly succeeded");
}

Error command_error(const std::string& command, const CommandResult& result) {
  Error error(Error::Kind::guest, ended(command, result));
  error.attach("stdout, last lines", base::last_lines(result.output, 30));
  error.attach("stderr, last lines", base::last_lines(result.error_output, 30));
  return error;
}

guest::Command shell_command(std::string_view text, const CommandOptions& options,
                             const MachineConfig& config) {
  return {.shell = base::dedent(text), .argv = {}, .strict = options.strict, .env = config.env};
}

// A wait's command is repeated inside one command of the guest, so it sets its environment itself.
std::string repeated(std::string_view text, const MachineConfig& config) {
  std::string prefix;
  for (auto& [key, value] : config.env)
    prefix += "export " + key + "=" + base::shell_quote(value) + "\n";
  return prefix + base::dedent(text);
}

Task<CommandResult> run_command(guest::Guest& guest, guest::Command command, Deadline deadline) {
  return guest.run(std::move(command), deadline);
}

}  // namespace

Machine::Machine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Machine::~Machine() = default;

const std::string& Machine::name() const noexcept { return impl_->name; }
bool Machine::is_up() const { return impl_->up; }

void Machine::start(Here here) { impl_->call(impl_->start(), here); }
void Machine::shutdown(Here here) { impl_->call(impl_->shutdown(), here); }
void Machine::crash(Here here) { impl_->call(impl_->crash(), here); }

void Machine::wait_for_shutdown(WaitOptions options, Here here) {
  auto limit = options.timeout.value_or(impl_->fleet.config.timeouts.wait);
  impl_->call(impl_->wait_for_shutdown(limit), here);
}

CommandResult Machine::execute(std::string_view command, CommandOptions options, Here here) {
  auto limit = options.timeout.value_or(impl_->fleet.config.timeouts.command);
  Impl::Operation<CommandResult> operation =
      [made = shell_command(command, options, impl_->config)](
          guest::Guest& guest, Deadline deadline) { return run_command(guest, made, deadline); };
  return impl_->call(impl_->with_guest<CommandResult>(std::move(operation), limit, Evidence::none),
                     here);
}

CommandResult Machine::run(std::vector<std::string> argv, CommandOptions options, Here here) {
  auto limit = options.timeout.value_or(impl_->fleet.config.timeouts.command);
  guest::Command made{
      .shell = {}, .argv = std::move(argv), .strict = false, .env = impl_->config.env};
  Impl::Operation<CommandResult> operation = [made](guest::Guest& guest, Deadline deadline) {
    return run_command(guest, made, deadline);
  };
  return impl_->call(impl_->with_guest<CommandResult>(std::move(operation), limit, Evidence::none),
                     here);
}

std::string Machine::succeed(std::string_view command, CommandOptions options, Here here) {
  auto result = execute(command, options, here);
  if (result.exit_code != 0)
    throw command_error(base::dedent(command), result)
        .during("using machine '" + name() + "'")
        .at(here);
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
  if (result.exit_code == 0)
    throw command_error(base::dedent(command), result)
        .during("using machine '" + name() + "'")
        .at(here);
  return std::move(result.output);
}

std::string Machine::fail(std::initializer_list<std::string_view> commands, CommandOptions options,
                          Here here) {
  std::string all;
  for (auto command : commands) all += fail(command, options, here);
  return all;
}

void Machine::sleep(std::chrono::milliseconds span, Here here) {
  Impl::Operation<void> operation = [span](guest::Guest& guest, Deadline deadline) {
    return guest::sleep(guest, span, deadline);
  };
  auto limit = span + impl_->fleet.config.timeouts.command;
  impl_->call(impl_->with_guest<void>(std::move(operation), limit, Evidence::none), here);
}

std::string Machine::wait_until_succeeds(std::string_view command, WaitOptions options, Here here) {
  auto limit = options.timeout.value_or(impl_->fleet.config.timeouts.wait);
  Impl::Operation<std::string> operation = [made = repeated(command, impl_->config)](
                                               guest::Guest& guest, Deadline deadline) {
    return guest::wait_until_succeeds(guest, made, deadline);
  };
  return impl_->call(
      impl_->with_guest<std::string>(std::move(operation), limit, Evidence::units_and_journal),
      here);
}

std::string Machine::wait_until_fails(std::string_view command, WaitOptions options, Here here) {
  auto limit = options.timeout.value_or(impl_->fleet.config.timeouts.wait);
  Impl::Operation<std::string> operation = [made = repeated(command, impl_->config)](
                                               guest::Guest& guest, Deadline deadline) {
    return guest::wait_until_fails(guest, made, deadline);
  };
  return impl_->call(
      impl_->with_guest<std::string>(std::move(operation), limit, Evidence::units_and_journal),
      here);
}

void Machine::wait_for_unit(std::string_view unit, UnitOptions options, Here here) {
  auto limit = options.timeout.value_or(impl_->fleet.config.timeouts.wait);
  Impl::Operation<void> operation = [unit = std::string(unit), options](guest::Guest& guest,
                                                                        Deadline deadline) {
    return guest::wait_for_unit(guest, unit, options, deadline);
  };
  impl_->call(impl_->with_guest<void>(std::move(operation), limit, Evidence::units_and_journal),
              here);
}

void Machine::wait_for_open_port(int port, PortOptions options, Here here) {
  auto limit = options.timeout.value_or(impl_->fleet.config.timeouts.wait);
  Impl::Operation<void> operation = [port, options](guest::Guest& guest, Deadline deadline) {
    return guest::wait_for_open_port(guest, port, options, deadline);
  };
  impl_->call(impl_->with_guest<void>(std::move(operation), limit, Evidence::units_and_journal),
              here);
}

std::string Machine::get_console_log() const {
  return impl_->call(impl_->console_text(), Here::current());
}

}  // namespace attest
