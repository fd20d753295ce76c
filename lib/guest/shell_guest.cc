#include "lib/guest/shell_guest.h"

#include "lib/base/text.h"
#include "lib/guest/files.h"
#include "lib/guest/poll.h"
#include "lib/guest/ports.h"
#include "lib/guest/span.h"
#include "lib/guest/units.h"
#include "lib/guest/words.h"

#include <algorithm>
#include <chrono>

namespace attest::guest {
namespace {

using namespace std::chrono_literals;
using Kind = Error::Kind;

// In a forked subshell `$$` is the resident shell. A text that mentions it gets a bash of its own,
// at the price of an exec: `kill -9 $$` must end the command, not the channel.
bool needs_own_process(std::string_view text) {
  return text.size() < 120'000 && (text.find("$$") != text.npos || text.find("${$") != text.npos);
}

struct ProbeText {
  std::string operator()(const UnitActive& it) const { return unit_probe(it.unit, it.user); }
  std::string operator()(const PortOpen& it) const { return port_probe(it); }
  std::string operator()(const FileExists& it) const { return file_probe(it); }
  std::string operator()(const SocketAccepts& it) const { return socket_probe(it); }
};

// Ends a run in the guest when its coroutine unwinds before it has ended: on cancellation.
class EndOnUnwind {
 public:
  EndOnUnwind(std::shared_ptr<ShellChannel> channel, std::shared_ptr<ShellRun> run)
      : channel_(std::move(channel)), run_(std::move(run)) {}
  EndOnUnwind(const EndOnUnwind&) = delete;
  EndOnUnwind& operator=(const EndOnUnwind&) = delete;
  ~EndOnUnwind() { channel_->end(run_); }

 private:
  std::shared_ptr<ShellChannel> channel_;
  std::shared_ptr<ShellRun> run_;
};

}  // namespace

std::string shell_text(const Command& command, proto::ShellKind kind) {
  check(command);
  std::string text;
  for (auto& [name, value] : command.env)
    text += "export " + name + "=" + base::shell_quote(value) + "\n";
  if (!command.argv.empty()) {
    std::string line = "exec";
    // dash takes no "--" here; a program whose name begins with a dash needs bash's.
    if (command.argv[0][0] == '-') line += " --";
    for (auto& word : command.argv) line += " " + base::shell_quote(word);
    return text + line;
  }
  std::string strict = !command.strict                  ? ""
                       : kind == proto::ShellKind::bash ? "set -euo pipefail\n"
                                                        : "set -eu\n";
  if (kind == proto::ShellKind::bash &&
      needs_own_process(command.shell))  // one argument: at most 128 KiB
    return text + "exec bash -c " + base::shell_quote(strict + command.shell) + " bash";
  return text + strict + command.shell;
}

Task<CommandResult> ShellGuest::run(Command command, Deadline deadline) {
  const auto channel = channel_;  // outlives this guest while the coroutine unwinds
  const auto begun = std::chrono::steady_clock::now();
  co_await channel->wait_ready(deadline);
  const auto span = span_words(deadline);
  auto run = channel->begin(shell_text(command, channel->kind()));
  EndOnUnwind guard(channel, run);

  auto interval = 2s;
  while (!run->ended() && !deadline.passed()) {
    co_await ShellChannel::wait_ended(run, Deadline::after(interval).earlier(deadline));
    if (!run->ended() && !deadline.passed()) channel->check(*run);
    interval = std::min(interval + 1s, std::chrono::seconds(5));
  }
  const bool late = !run->ended();
  if (late) {
    channel->end(run);
    co_await ShellChannel::wait_ended(run, Deadline::never());
  }
  if (run->failure && !late) throw Error(*run->failure).during("running " + words(command));
  if (late) {
    if (run->failure && run->failure->kind() == Kind::host)
      throw Error(*run->failure).during("running " + words(command));
    auto error = command_late(command, span, run->frame ? run->frame->output : "",
                              run->frame ? run->frame->error_output : "");
    if (run->failure) error.during(std::string("ending it: ") + run->failure->what());
    throw error;
  }
  auto& frame = *run->frame;
  if (frame.kind == proto::ShellFrame::Kind::full ||
      frame.output.size() + frame.error_output.size() > proto::shell_output_limit)
    throw command_too_loud(command);
  if (run->spoiled && channel->kind() == proto::ShellKind::posix)  // there all share one tmpfs
    throw Error(Kind::guest,
                "the output of command " + words(command) +
                    " may be cut: another command, at the same time, printed more than 64 MiB");
  CommandResult result;
  result.exit_code = frame.code;
  result.output = std::move(frame.output);
  result.error_output = std::move(frame.error_output);
  result.duration = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - begun);
  co_return result;
}

namespace {
Error not_over_a_shell(const std::string& what) {
  return Error(Kind::unsupported, "a guest without attest-agent cannot " + what);
}
}  // namespace

Task<std::unique_ptr<Process>> ShellGuest::spawn(Command, Deadline) {
  throw not_over_a_shell("run commands in the background");
}

Task<void> ShellGuest::wait_for(Condition condition, Deadline deadline) {
  auto wanted = goal(condition);
  auto probe = std::visit(ProbeText{}, condition);
  co_await guest::wait_for(*this, wanted, probe, deadline);
}

Task<std::string> ShellGuest::read_file(std::string, Deadline) {
  throw not_over_a_shell("give files");
}
Task<void> ShellGuest::write_file(std::string, std::string, unsigned, Deadline) {
  throw not_over_a_shell("take files");
}
Task<void> ShellGuest::send_tree(TreeSource&, std::string, Deadline) {
  throw not_over_a_shell("take trees");
}
Task<void> ShellGuest::fetch_tree(std::string, TreeSink&, Deadline) {
  throw not_over_a_shell("give trees");
}
Task<void> ShellGuest::set_clock(std::chrono::system_clock::time_point, Deadline) {
  throw not_over_a_shell("have its clock set");
}
Task<void> ShellGuest::power(Power, Deadline) { throw not_over_a_shell("be sent down"); }
Task<void> ShellGuest::wait_restarted(Deadline) { throw not_over_a_shell("tell its restart"); }

std::string ShellGuest::take_notice() {
  if (std::exchange(noticed_, true) || strict_is_bash()) return {};
  return "the guest has no bash: commands run under sh -eu, a failing pipe stage goes unnoticed";
}

Task<std::unique_ptr<Guest>> greet(std::unique_ptr<Stream> stream, Bootstrap, Deadline deadline) {
  auto channel =
      std::make_shared<ShellChannel>(co_await asio::this_coro::executor, std::move(stream));
  channel->start();
  auto guest = std::make_unique<ShellGuest>(channel);
  try {
    co_await channel->wait_ready(deadline);
  } catch (Error& error) {
    if (error.kind() == Kind::host)
      throw Error(Kind::guest, std::string("before the guest greeted, ") + error.what());
    error.during("waiting for the greeting of the guest's shell");
    throw;
  }
  co_return guest;
}

}  // namespace attest::guest
