// Machine: the serial console, virtual terminals and X windows.
#include "attest/machine.h"
#include "lib/base/text.h"
#include "lib/core/machine_impl.h"

namespace attest {
namespace {

// The screen has no line ends of its own; its width is the terminal's.
std::string tty_command(int tty) {
  std::string n = std::to_string(tty);
  return "size=$(stty -F /dev/tty" + n + " size)\nfold -w\"${size#* }\" /dev/vcs" + n;
}

// A window's line is `0x1a "its name": ("class" "Class") 1x1+0+0`.
constexpr auto window_command =
    R"sh(DISPLAY=${DISPLAY-:0.0} xwininfo -root -tree | sed -n 's/^ *0x[0-9a-f]* "\(.*\)": (.*/\1/p')sh";

Task<std::string> output_of(guest::Guest& guest, std::string what, std::string command,
                            Deadline deadline) {
  guest::Command made;
  made.shell = std::move(command);
  made.label = what;
  auto result = co_await guest.run(made, deadline);
  if (result.exit_code == 0) co_return std::move(result.output);
  Error error(Error::Kind::guest,
              what + " failed with exit code " + std::to_string(result.exit_code));
  throw error.attach("stderr, last lines", base::last_lines(result.error_output, 10));
}

Machine::Impl::Ask asking(std::string what, std::string command) {
  return [what = std::move(what), command = std::move(command)](guest::Guest& guest,
                                                                Deadline deadline) {
    return output_of(guest, what, command, deadline);
  };
}

std::string reading_tty(int tty) { return "reading the text of tty" + std::to_string(tty); }

std::vector<std::string> lines_of(const std::string& text) {
  auto lines = base::split(text, '\n');
  if (lines.back().empty()) lines.pop_back();
  return lines;
}

}  // namespace

Task<std::string> Machine::Impl::console_text() { co_return console_.text(); }

Task<std::string> Machine::Impl::wait_for_console_text(base::Pattern pattern,
                                                       std::chrono::milliseconds limit) {
  co_await start();
  auto run = running_;
  if (!run) throw Error(Error::Kind::guest, "machine '" + name + "' was stopped meanwhile");
  if (!backend_->has_console())
    throw has_no("console that could be seen", "look into its journal with journal()");
  auto goal = "waiting for '" + pattern.source() + "' on the console";
  std::optional<Error> failure;
  try {
    auto waiting = async::unless(core::Running::doom(run), console_.wait_for(pattern));
    co_return co_await async::within(fleet.limit(limit), goal, std::move(waiting));
  } catch (const Error& e) {
    failure = e;
  }
  if (run->doomed.is_set()) failure->during(goal);
  attach_console(*failure);
  throw *failure;
}

Task<void> Machine::Impl::send_console(std::string text) {
  co_await start();
  auto* input = backend_ ? backend_->console_input() : nullptr;
  if (!input)
    throw has_no("console that takes input", "run commands with execute(), or use backend qemu");
  co_await input->send(std::move(text));
}

std::string Machine::wait_for_console_text(std::string_view regex, WaitOptions options, Here here) {
  auto pattern = impl_->pattern(regex, here);
  impl_->fleet.polling->check(here);
  return impl_->call(impl_->wait_for_console_text(pattern, impl_->wait_limit(options.timeout)),
                     here);
}

std::string Machine::get_console_log() const {
  return impl_->call(impl_->console_text(), Here::current());
}

void Machine::send_console(std::string_view text, Here here) {
  impl_->fleet.polling->check(here);
  impl_->call(impl_->send_console(std::string(text)), here);
}

std::string Machine::get_tty_text(int tty, Here here) {
  return impl_->in_guest(impl_->timeouts.command, Evidence::none, here,
                         asking(reading_tty(tty), tty_command(tty)));
}

void Machine::dump_tty_contents(int tty, Here here) {
  for (auto& line : lines_of(get_tty_text(tty, here)))
    impl_->fleet.setup.say(name(), "tty" + std::to_string(tty) + ": " + base::printable(line));
}

std::string Machine::wait_until_tty_matches(int tty, std::string_view regex, WaitOptions options,
                                            Here here) {
  auto pattern = impl_->pattern(regex, here);
  auto look = [&](const std::string& text) {
    return pattern.found_in(text) ? std::optional(text) : std::nullopt;
  };
  auto goal = "'" + pattern.source() + "' on tty" + std::to_string(tty);
  return impl_->wait_until(goal, asking(reading_tty(tty), tty_command(tty)), look, options.timeout,
                           here);
}

std::vector<std::string> Machine::get_window_names(Here here) {
  return lines_of(impl_->in_guest(impl_->timeouts.command, Evidence::none, here,
                                  asking("listing the windows (xwininfo)", window_command)));
}

std::string Machine::wait_for_window(std::string_view regex, WaitOptions options, Here here) {
  auto pattern = impl_->pattern(regex, here);
  auto look = [&](const std::string& text) -> std::optional<std::string> {
    for (auto& window : lines_of(text))
      if (pattern.found_in(window)) return window;
    return std::nullopt;
  };
  // An X server that does not run yet is no failure: the text is empty then.
  auto ask =
      asking("listing the windows (xwininfo)",
             "command -v xwininfo >/dev/null || { echo 'xwininfo: not found' >&2; exit 127; }\n"
             "{ " +
                 std::string(window_command) + "; } 2>/dev/null || true");
  return impl_->wait_until("a window named '" + pattern.source() + "'", ask, look, options.timeout,
                           here);
}

}  // namespace attest
