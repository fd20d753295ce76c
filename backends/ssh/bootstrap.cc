#include "backends/ssh/bootstrap.h"

#include "lib/base/text.h"

#include <array>
#include <optional>
#include <utility>
#include <vector>

namespace attest::ssh {
namespace {

using Kind = Error::Kind;

constexpr std::size_t noise_limit = 4 << 20;

// $1 begins each line that is ours: login shells print greetings of their own. After "go" it reads
// one line: "agent SIZE", with so many bytes behind it, or "shell". A directory takes programs if a
// script in it can be executed (noexec mounts refuse). The program is started by its descriptor, so
// that its directory can go before; without /proc it goes when the agent ends.
constexpr std::string_view script = R"sh(
m=$1 t=
say() { echo "$m $*"; }
tidy() { [ -z "$t" ]||rm -rf "$t";t=; }
trap tidy EXIT
trap "exit 1" HUP INT TERM PIPE
say machine $(uname -m)
say state $(systemctl is-system-running 2>/dev/null)
u=$(umask)
umask 077
for d in /tmp /var/tmp "$HOME" /dev/shm;do
t=$(mktemp -d "$d/attest.XXXXXXXX" 2>/dev/null)||{ t=;continue;}
printf "#!/bin/sh\nexit 0\n" >"$t/try" 2>/dev/null&&chmod 700 "$t/try"&&"$t/try" 2>/dev/null&&{ say stage "$t";break;}
tidy
done
say go
read -r what size||exit 1
fail() { say refused "$*";what=shell; }
if [ "$what" = agent ];then
f=$t/attest-agent
head -c "$size" >"$f"||:
have=$(wc -c <"$f")
if [ "$have" -ne "$size" ];then fail "only $have of $size bytes arrived in $t"
elif ! chmod 700 "$f"||! "$f" --version >/dev/null;then fail "it cannot be executed in $t"
else
umask $u
say start
if [ -r /proc/self/fd/0 ];then
exec 9<"$f"
tidy
exec /proc/self/fd/9 --stdio
fi
"$f" --stdio
exit
fi
fi
tidy
trap - EXIT HUP INT TERM PIPE
umask $u
say start
export DISPLAY=:0.0 USER="${USER:-$(id -un)}"
if [ -r /etc/profile ];then . /etc/profile;fi
export PAGER=
cd /tmp
echo "Spawning backdoor root shell..."
if command -v bash >/dev/null;then PS1= exec bash --norc;fi
PS1= exec sh
)sh";

// The machine that an ELF program is for, as uname -m has it.
std::string machine_of(std::string_view program) {
  if (program.size() < 20 || program.substr(1, 3) != "ELF") return {};
  switch (static_cast<unsigned char>(program[18])) {
    case 62:
      return "x86_64";
    case 183:
      return "aarch64";
    default:
      return {};
  }
}

// The script's lines, with what else comes before them passed over.
class Report {
 public:
  Report(std::shared_ptr<Channel> channel, std::string mark)
      : channel_(std::move(channel)), mark_(std::move(mark)) {}

  // {first word, the rest} of the next line that is ours.
  Task<std::pair<std::string, std::string>> next() {
    for (;;) {
      auto at = text_.find(mark_);
      auto end = at == text_.npos ? at : text_.find('\n', at);
      if (end != text_.npos) {
        auto line = text_.substr(at + mark_.size(), end - at - mark_.size());
        text_.erase(0, end + 1);
        auto space = line.find(' ');
        if (space == line.npos) co_return std::pair{line, std::string()};
        co_return std::pair{line.substr(0, space), line.substr(space + 1)};
      }
      std::array<char, 16384> buffer;
      const auto count = co_await channel_->read(Channel::standard_output, buffer);
      text_.append(buffer.data(), count);
      if (count == 0 || text_.size() > noise_limit) throw no_commands();
    }
  }
  std::string take_rest() { return std::exchange(text_, {}); }

 private:
  Error no_commands() const {
    Error error(Kind::unsupported,
                channel_->session()->peer() + " lets us in, and does not run our commands");
    if (!text_.empty()) error.attach("it answers", base::printable(base::last_lines(text_, 5)));
    return error.hint(
        "the user needs a login shell, and no ForceCommand in the host's sshd_config");
  }

  std::shared_ptr<Channel> channel_;
  std::string mark_, text_;
};

std::string objection(std::string_view agent, const std::string& machine,
                      const std::string& stage) {
  if (machine != machine_of(agent))
    return "the host is " + base::printable(machine) + ", the agent at hand is for " +
           machine_of(agent);
  if (stage.empty())
    return "no directory takes programs: /tmp, /var/tmp, the home directory and /dev/shm are "
           "read-only or mounted noexec";
  return {};
}

}  // namespace

std::string_view bootstrap_script() { return script; }

Task<Served> serve(std::shared_ptr<Session> session, std::string_view agent) {
  Served served;
  const std::string mark = "attest-" + base::random_hex(8);
  served.channel = co_await Channel::exec(
      session, "exec sh -c " + base::shell_quote(script) + " attest " + mark);
  Report report(served.channel, mark + " ");
  std::string machine, stage, why;
  for (;;) {
    auto [word, rest] = co_await report.next();
    if (word == "go") break;
    if (word == "machine") machine = rest;
    if (word == "stage") stage = rest;
    if (word == "state" && rest == "stopping") {
      served.stopping = true;
      co_return served;
    }
  }
  if (!agent.empty()) why = objection(agent, machine, stage);
  served.agent = !agent.empty() && why.empty();
  const std::string wish =
      served.agent ? "agent " + std::to_string(agent.size()) + "\n" : std::string("shell\n");
  co_await served.channel->write(wish);
  if (served.agent) co_await served.channel->write(agent);
  for (;;) {
    auto [word, rest] = co_await report.next();
    if (word == "start") break;
    if (word != "refused") continue;
    why = rest;
    served.agent = false;
  }
  if (!why.empty())
    served.notice =
        "attest-agent could not be started (" + why + "): commands go over a shell, slower";
  served.first = report.take_rest();
  co_return served;
}

}  // namespace attest::ssh
