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

namespace {

// Becomes user $_u and runs $_c. setpriv changes nothing but the identity; su, where it has to do,
// puts a process of its own between.
constexpr std::string_view as_user = R"sh(
_p=$(getent passwd "$_u" 2>/dev/null||grep "^$_u:" /etc/passwd)||{ echo "there is no user '$_u'" >&2;exit 126;}
IFS=: read -r _n _x _i _g _e _h _s <<_end
$_p
_end
export HOME="$_h" USER="$_u" LOGNAME="$_u"
if setpriv --help 2>&1|grep -q -e --init-groups;then
exec setpriv --reuid "$_i" --regid "$_g" --init-groups -- $_b -c "$_c" $_b;fi
_b=$(command -v $_b);case $_b in /*);;*)_b=/bin/sh;;esac
exec su -s $_b "$_u" -c "$_c"
)sh";

std::string body(const Command& command, proto::ShellKind kind) {
  std::string text;
  for (auto& [name, value] : command.env)
    text += "export " + name + "=" + base::shell_quote(value) + "\n";
  if (!command.cwd.empty()) text += "cd " + base::shell_quote(command.cwd) + "||exit 126\n";
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
  if (kind == proto::ShellKind::bash && command.user.empty() &&
      needs_own_process(command.shell))  // one argument: at most 128 KiB
    return text + "exec bash -c " + base::shell_quote(strict + command.shell) + " bash";
  return text + strict + command.shell;
}

}  // namespace

std::string shell_text(const Command& command, proto::ShellKind kind,
                       const std::string& input_file) {
  check(command);
  std::string text;
  if (!input_file.empty()) {
    auto file = base::shell_quote(input_file);
    text = "exec <" + file + ";rm -f " + file + "\n";
  }
  if (command.user.empty()) return text + body(command, kind);
  auto inner = body(command, kind);
  if (inner.size() > 120'000)
    throw Error(Kind::unsupported,
                "a guest without attest-agent takes no more than 120 kB of command for user '" +
                    command.user + "'");
  return text + "_u=" + base::shell_quote(command.user) + " _c=" + base::shell_quote(inner) +
         " _b=" + (kind == proto::ShellKind::bash ? "bash" : "sh") + std::string(as_user);
}

Task<CommandResult> run_over(std::shared_ptr<ShellChannel> channel, Command command,
                             Deadline deadline) {
  check(command);
  std::string input_file;
  if (command.input && !command.input->empty()) {
    input_file = co_await ask(channel, "umask 077;mktemp", deadline);
    input_file = base::trim(input_file);
    co_await append(channel, input_file, *command.input, deadline);
  }
  const auto begun = std::chrono::steady_clock::now();
  co_await channel->wait_ready(deadline);
  const auto span = span_words(deadline);
  auto run = channel->begin(shell_text(command, channel->kind(), input_file));
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

Task<void> ShellGuest::wait_for(Condition condition, Deadline deadline) {
  auto wanted = goal(condition);
  auto probe = std::visit(ProbeText{}, condition);
  co_await guest::wait_for(*this, wanted, probe, deadline);
}

Task<void> ShellGuest::set_clock(std::chrono::system_clock::time_point now, Deadline deadline) {
  const auto ns =
      std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count();
  char text[48];
  std::snprintf(text, sizeof text, "%lld.%09lld", static_cast<long long>(ns / 1'000'000'000),
                static_cast<long long>(ns % 1'000'000'000));
  // busybox takes no fraction.
  std::string line = std::string("t=") + text + "\ndate -s @$t 2>/dev/null||date -s @${t%.*}";
  co_await ask(channel_, line, deadline);
}

Task<void> ShellGuest::reseed(std::string bytes, Deadline deadline) {
  std::string line = "printf '";
  for (const unsigned char byte : bytes) {
    char escape[8];
    std::snprintf(escape, sizeof escape, "\\%03o", byte);
    line += escape;
  }
  line += "' >/dev/urandom";
  co_await ask(channel_, line, deadline);
}

Task<void> ShellGuest::power(Power wish, Deadline deadline) {
  const std::string verb = wish == Power::off ? "poweroff" : "reboot";
  // It must return before the guest is gone: the wish is enough.
  std::string text = "if [ -d /run/systemd/system ];then systemctl --no-block " + verb +
                     ";else command -v " + verb + " >/dev/null||exit 1;(sleep 0.2;" + verb +
                     " -f) >/dev/null 2>&1 & fi";
  co_await ask(channel_, text, deadline);
}

Task<void> ShellGuest::wait_restarted(Deadline deadline) {
  const auto channel = channel_;
  co_await channel->wait_banner(seen_banners_, deadline);
  seen_banners_ = channel->banners();
}

void ShellGuest::add_notice(std::string text) { notice_ = std::move(text); }

std::string ShellGuest::take_notice() {
  if (std::exchange(noticed_, true)) return {};
  const std::string bash =
      "the guest has no bash: commands run under sh -eu, a failing pipe stage goes unnoticed";
  if (strict_is_bash()) return notice_;
  return notice_.empty() ? bash : notice_ + "; " + bash;
}

Task<std::string> ask(std::shared_ptr<ShellChannel> channel, std::string text, Deadline deadline) {
  Command command;
  command.shell = std::move(text);
  command.strict = false;
  auto result = co_await run_over(channel, command, deadline);
  if (result.exit_code != 0) {
    auto reason = base::printable(base::trim(base::last_lines(result.error_output, 1)));
    throw Error(Kind::guest, reason.empty() ? "the guest's shell ended with exit code " +
                                                  std::to_string(result.exit_code)
                                            : reason);
  }
  co_return std::move(result.output);
}

}  // namespace attest::guest
