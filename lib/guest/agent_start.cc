#include "lib/guest/agent_start.h"

#include "lib/base/file.h"
#include "lib/base/text.h"

#include <chrono>
#include <cstdio>
#include <sstream>

namespace attest::guest {
namespace {

using namespace std::chrono_literals;
using Kind = Error::Kind;

constexpr auto greeting_patience = 10s;

constexpr std::string_view machine_of_binary() {
#if defined(__x86_64__)
  return "x86_64";
#elif defined(__aarch64__)
  return "aarch64";
#else
  return "";
#endif
}

// Finds a directory for the program, and looks whether the host's shared directory shows it.
// $n: its name, $s: what cksum says. Says "machine", "port", "file PATH" (whole), "stage PATH"
// (empty).
constexpr std::string_view look_text = R"sh(
umask 077
echo "machine $(uname -m)"
for f in /sys/class/virtio-ports/*/name;do [ -r $f ]&&read -r p <$f&&echo "port $p";done
command -v base64 >/dev/null&&command -v head >/dev/null&&command -v cksum >/dev/null&&echo tools
for d in /run /dev/shm /tmp /var/tmp;do d=$d/attest
mkdir -p $d 2>/dev/null&&[ -w $d ]||continue
t=$d/$n;c=$(cksum <$t 2>/dev/null)&&[ "$c" = "$s" ]&&{ echo "file $t";exit;}
rm -f $t;: >$t.part 2>/dev/null||continue
if c=$(cksum </tmp/shared/$n 2>/dev/null)&&[ "$c" = "$s" ]&&cp /tmp/shared/$n $t.part 2>/dev/null;then
mv $t.part $t&&{ echo "file $t";exit;};fi
echo "stage $t";exit
done
exit 0
)sh";

// Starts $t from the first directory where programs may run. Its descriptors are its own: nothing
// of this command's stays open in it.
constexpr std::string_view start_text = R"sh(
umask 077
for d in ${t%/*} /run/attest /dev/shm/attest /tmp/attest /var/tmp/attest;do
mkdir -p $d 2>/dev/null;[ $d/$n = $t ]||cp $t $d/$n 2>/dev/null||continue
chmod 700 $d/$n
$d/$n --version >/dev/null 2>&1||{ r=$?;[ $d/$n = $t ]||rm -f $d/$n;continue;}
[ $d/$n = $t ]||rm -f $t
S=;command -v setsid >/dev/null&&S=setsid
cd /
p=$(cat $d/pid 2>/dev/null)&&[ "$(readlink /proc/$p/exe)" = $d/$n ]&&kill $p
$S $d/$n $a </dev/null >/dev/null 2>$d/log &
echo $! >$d/pid
echo "log $d/log";exit
done
echo "refused $r";exit 0
)sh";

// The words after each first word of the lines.
std::string value_of(const std::string& output, const std::string& name) {
  for (auto& line : base::split(output, '\n'))
    if (line.starts_with(name + " ")) return line.substr(name.size() + 1);
  return {};
}

// Shows the binary in the host's shared directory; nothing depends on it.
void share(const std::filesystem::path& folder, const std::string& name, std::string_view binary) {
  if (folder.empty()) return;
  std::error_code failure;
  if (std::filesystem::file_size(folder / name, failure) == binary.size() && !failure) return;
  try {
    base::write_file(folder / name, binary);
    std::filesystem::permissions(folder / name, std::filesystem::perms(0755), failure);
  } catch (const Error&) {  // then it goes over the shell
  }
}

Task<std::string> start(ShellGuest& guest, proto::Agent& agent, AgentStart what,
                        Deadline deadline) {
  const auto sum = proto::shell_checksum(what.binary);
  char name[32];
  std::snprintf(name, sizeof name, "attest-agent.%08x", sum);
  share(what.shared_dir, name, what.binary);
  const std::string names = std::string("n=") + name + " s='" + std::to_string(sum) + " " +
                            std::to_string(what.binary.size()) + "' a='" + what.transport + "'";
  auto seen = co_await ask(guest.channel(), names + std::string(look_text), deadline);
  const auto machine = value_of(seen, "machine");
  if (machine != machine_of_binary())
    co_return "the guest is " + base::printable(machine) + ", the agent at hand is for " +
        std::string(machine_of_binary());
  if (what.transport.starts_with("--port ") &&
      seen.find("port " + what.transport.substr(7) + "\n") == seen.npos)
    co_return "the guest sees no virtio port '" + what.transport.substr(7) + "'";
  auto path = value_of(seen, "file");
  if (path.empty()) {
    path = value_of(seen, "stage");
    if (path.empty()) co_return "the guest has no directory that can be written to";
    if (!guest.strict_is_bash() || seen.find("tools\n") == seen.npos)
      co_return "there is no shared directory, and the guest lacks bash, head, base64 or cksum";
    co_await append(guest.channel(), path + ".part", what.binary, deadline);
    auto moved = co_await ask(
        guest.channel(),
        names + "\nt=" + path +
            "\nc=$(cksum <$t.part);[ \"$c\" = \"$s\" ]&&mv $t.part $t&&echo whole;exit 0",
        deadline);
    if (moved != "whole\n") co_return "it was damaged on its way into the guest";
  }
  auto started =
      co_await ask(guest.channel(), names + "\nt=" + path + std::string(start_text), deadline);
  const auto log = value_of(started, "log");
  if (log.empty())
    co_return "no directory of the guest takes programs (exit code " +
        value_of(started, "refused") + "): they are mounted noexec";
  std::string failure;
  try {
    co_await agent.wait_greeted(deadline.earlier(Deadline::after(greeting_patience)));
  } catch (const Error& error) {
    failure = error.what();
  }
  if (failure.empty()) co_return "";
  auto said = co_await ask(guest.channel(), "tail -n 1 " + log, deadline);
  failure = failure.substr(0, failure.find('\n'));
  if (auto last = base::trim(said); !last.empty()) failure += ": " + base::printable(last);
  co_return failure;
}

}  // namespace

Task<std::string> start_agent(ShellGuest& guest, proto::Agent& agent, AgentStart what,
                              Deadline deadline) {
  try {
    co_return co_await start(guest, agent, std::move(what), deadline);
  } catch (const Error& error) {
    if (error.kind() == Kind::host || error.kind() == Kind::guest) throw;
    std::string text = error.what();
    co_return text.substr(0, text.find('\n'));
  }
}

}  // namespace attest::guest
