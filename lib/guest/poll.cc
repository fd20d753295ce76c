#include "lib/guest/poll.h"

#include "attest/error.h"
#include "lib/base/text.h"
#include "lib/guest/span.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace attest::guest {
namespace {

using namespace std::chrono_literals;
using Kind = Error::Kind;

// The loop, for both kinds of guest. /proc/self/fd/1 opens the command's output file anew, so that
// only the last attempt's bytes are left in it; where the output is a pipe (attest-agent), a
// nameless file stands in for it until the end. A watcher ends an attempt that hangs. $$ is
// avoided: ShellGuest would pay for a process of its own. The last line on stderr is the report
// that parse_report() reads.
constexpr std::string_view loop_text = R"sh(
if [ "${BASH_VERSION-}" ];then eval 'exec 8<> <(:)'
_at_nap(){ read -rt $1 -u 8||:;}
_at_watch(){ read -rt $1 -u 8;kill -s USR1 $_at_j;}
else exec 8</dev/null
_at_nap(){ sleep $1 2>/dev/null & wait $!||sleep 1;}
_at_watch(){ sleep $1 & trap "kill $!" TERM;wait $!&&kill -s USR1 $_at_j;}
fi
_at_report(){ printf '\nattempts %s code %s\n' $_at_n $_at_r >&2;[ -z "$_at_z" ]||{ cat <&4 >&6;cat <&5 >&7;};}
_at_late(){ trap '' TERM USR1;kill -s TERM 0;[ -z "$_at_p" ]||{ _at_r=-1;_at_nap 0.02;kill -s KILL $_at_p 2>/dev/null;[ -s /proc/self/fd/1 ]||[ -z "$_at_q" ]||echo "$_at_q";};_at_report;exit 4;}
read -r _at_j _at_x </proc/self/stat
_at_z=;[ -f /proc/self/fd/1 ]||{ _at_z=$(mktemp -d)&&exec 6>&1 7>&2 >$_at_z/o 2>$_at_z/e 4<$_at_z/o 5<$_at_z/e;rm -rf "$_at_z";}
_at_n=0 _at_i=5 _at_p= _at_q= _at_r=0
trap _at_late USR1
_at_watch $_at_t 2>/dev/null & _at_w=$!
while :;do
exec >/proc/self/fd/1 2>/proc/self/fd/2
_at_n=$((_at_n+1))
(unset -f _at_nap _at_watch _at_report _at_late;eval "unset -v _at_a _at_d _at_i _at_j _at_n _at_p _at_q _at_r _at_s _at_t _at_w _at_x _at_z
$_at_a") 4<&- 5<&- 6>&- 7>&- 8>&- & _at_p=$!
wait $_at_p;_at_r=$?;_at_p=
eval "$_at_d"
if [ "$_at_s" ];then _at_nap $_at_s;elif [ $_at_i -lt 10 ];then _at_nap 0.00$_at_i;elif [ $_at_i -lt 100 ];then _at_nap 0.0$_at_i;else _at_nap 0.$_at_i;fi
_at_i=$((_at_i+(_at_i+1)/2));[ $_at_i -lt 500 ]||_at_i=500
done
)sh";

std::string decision(Probe::Contract contract) {
  const std::string over = "kill $_at_w 2>/dev/null;_at_report;exit ";
  switch (contract) {
    case Probe::Contract::succeeds:
      return "[ $_at_r != 0 ]||{ " + over + "0;}";
    case Probe::Contract::fails:
      return "[ $_at_r = 0 ]||{ " + over + "0;}";
    case Probe::Contract::states:
      break;
  }
  // $_at_q: what is said where the deadline comes in the middle of an attempt.
  return "case $_at_r in 0|2|3) " + over + "$_at_r;;esac;read -r _at_q </proc/self/fd/1";
}

std::string seconds(long long ms) {
  char text[40];
  std::snprintf(text, sizeof text, "%lld.%03lld", ms / 1000, ms % 1000);
  return text;
}

// The loop stops itself a little before the host would have to.
std::string budget(Deadline deadline) {
  auto left = std::min<Deadline::Clock::duration>(deadline.left(), std::chrono::hours(24 * 365));
  auto spare = std::min<Deadline::Clock::duration>(left / 5, 1s);
  auto ms = std::max<long long>(
      10, std::chrono::duration_cast<std::chrono::milliseconds>(left - spare).count());
  return seconds(ms);
}

// A guest short of CPU tells late what its last attempt saw. Its report explains more than a
// timeout of ours, so the host waits for it this much longer than was asked.
constexpr auto report_grace = 5s;

Deadline report_by(Deadline deadline) {
  return Deadline::after(
      std::min<Deadline::Clock::duration>(deadline.left(), std::chrono::hours(24 * 365)) +
      report_grace);
}

bool parse_report(Polled& polled) {
  auto at = polled.error_output.rfind("\nattempts ");
  if (at == std::string::npos) return false;
  auto words = base::split(base::trim(std::string_view(polled.error_output).substr(at + 1)), ' ');
  if (words.size() != 4) return false;
  auto read = [](const std::string& text, int& value) {
    return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc{};
  };
  if (!read(words[1], polled.attempts) || !read(words[3], polled.code)) return false;
  polled.error_output.resize(at);
  return true;
}

}  // namespace

Task<Polled> poll(Guest& guest, Probe probe, Deadline deadline) {
  Command command;
  command.strict = false;
  command.label = probe.label.empty() ? "a polling loop" : probe.label;
  const auto pause = probe.interval ? seconds(std::max<long long>(1, probe.interval->count())) : "";
  command.shell = "_at_t=" + budget(deadline) + " _at_s=" + pause +
                  " _at_a=" + base::shell_quote(probe.text) +
                  " _at_d=" + base::shell_quote(decision(probe.contract)) + std::string(loop_text);
  auto result = co_await guest.run(command, report_by(deadline));
  Polled polled;
  polled.output = std::move(result.output);
  polled.error_output = std::move(result.error_output);
  if (!parse_report(polled))
    throw Error(Kind::guest, "the polling loop in the guest was ended from outside, with code " +
                                 std::to_string(result.exit_code))
        .attach("its stderr", base::last_lines(polled.error_output, 10));
  using Outcome = Polled::Outcome;
  polled.outcome = result.exit_code == 0   ? Outcome::done
                   : result.exit_code == 2 ? Outcome::never
                   : result.exit_code == 3 ? Outcome::unsupported
                                           : Outcome::late;
  co_return polled;
}

Task<std::string> wait_for(Guest& guest, std::string goal, std::string probe, Deadline deadline) {
  const auto begun = Deadline::Clock::now();
  const auto span = span_words(deadline);
  Probe asked{std::move(probe), Probe::Contract::states, goal};
  Polled polled;
  try {
    polled = co_await poll(guest, asked, deadline);
  } catch (Error& error) {
    if (error.kind() == Kind::timeout)
      throw Error(Kind::timeout, "waited " + span + " for " + goal + "; the guest gave no state")
          .attach("how it ended", error.what());
    error.during("waiting for " + goal);
    throw;
  }
  std::string state(base::trim(polled.output));
  if (state.empty()) state = base::trim(base::last_lines(polled.error_output, 1));
  if (state.empty()) state = polled.code < 0 ? "the probe itself did not end" : "unknown";
  switch (polled.outcome) {
    case Polled::Outcome::done:
      co_return std::move(polled.output);
    case Polled::Outcome::unsupported:
      throw Error(Kind::unsupported, "cannot wait for " + goal + ": " + state);
    case Polled::Outcome::never:
      throw Error(Kind::guest, state)
          .during("waiting for " + goal + ", after " + base::human(Deadline::Clock::now() - begun));
    case Polled::Outcome::late:
      break;
  }
  throw Error(Kind::timeout, "waited " + span + " for " + goal + "; last state: " + state);
}

}  // namespace attest::guest
