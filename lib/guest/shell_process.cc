// A command that runs while the caller goes on, where there is no agent: what it prints goes to
// files of the guest, which are read with growing offsets; its stdin is a fifo.
#include "lib/async/within.h"
#include "lib/base/text.h"
#include "lib/guest/shell_guest.h"
#include "lib/guest/words.h"

#include <chrono>
#include <cstdlib>
#include <utility>

namespace attest::guest {
namespace {

using namespace std::chrono_literals;
using Kind = Error::Kind;

constexpr std::size_t small_input = 2 << 10;  // such a line is read by the shell, byte for byte

// The guest's side of one process: a directory with o, e (files), i (fifo), p (pid). A holder keeps
// the fifo open between two writes, from before the first one: it inherits it.
struct Site {
  std::string folder, holder;
};

constexpr std::string_view make_site = R"sh(umask 077
d=$(mktemp -d)&&mkfifo $d/i&&: >$d/o&&: >$d/e||exit 1
exec 3<>$d/i
sleep 2147483647 <&3 3>&- >/dev/null 2>&1 &
echo $! $d
)sh";

// Waits for up to a second for more than $a and $b bytes, then prints how many there are and them.
// $w is empty when the command has ended.
constexpr std::string_view read_site = R"sh(
k=0;while :;do
set -- $(stat -c %s $d/o $d/e)
[ "$w" ]&&[ $k -lt 20 ]&&[ $1 -le $a ]&&[ $2 -le $b ]||break
read p 2>/dev/null <$d/p&&[ ! -d /proc/$p ]&&w=
sleep 0.05;k=$((k+1));done
o=$(($1-a)) e=$(($2-b));[ $o -le 1048576 ]||o=1048576;[ $e -le 1048576 ]||e=1048576
echo $o $e
[ $o = 0 ]||tail -c +$((a+1)) $d/o|head -c $o
[ $e = 0 ]||tail -c +$((b+1)) $d/e|head -c $e
[ $o -lt 1048576 ]||fallocate -p -o 0 -l $((a+o)) $d/o 2>/dev/null
[ $e -lt 1048576 ]||fallocate -p -o 0 -l $((b+e)) $d/e 2>/dev/null
exit 0
)sh";

// Removes what is in the guest once the command has ended.
Task<void> clean(std::shared_ptr<ShellChannel> channel, std::shared_ptr<ShellRun> run, Site site) {
  co_await ShellChannel::wait_ended(run, Deadline::never());
  if (run->failure && run->failure->kind() != Kind::timeout) co_return;  // nothing to reach there
  std::string text = "kill " + site.holder + ";rm -rf " + site.folder;
  co_await ask(channel, text, Deadline::after(10s));
}

// A reader that ends while it is written to has had what it wanted.
Task<void> end_of_input(std::shared_ptr<ShellRun> run, std::shared_ptr<bool> ended) {
  co_await ShellChannel::wait_ended(run, Deadline::never());
  *ended = true;
  throw Error(Kind::guest, "it has ended");
}

class ShellProcess final : public Process {
 public:
  ShellProcess(std::shared_ptr<ShellChannel> channel, std::shared_ptr<ShellRun> run, Site site,
               std::string name)
      : channel_(std::move(channel)),
        run_(std::move(run)),
        site_(std::move(site)),
        name_(std::move(name)) {}
  ~ShellProcess() override {
    if (!detached_) channel_->end(run_);
    try {
      asio::co_spawn(channel_->loop(), clean(channel_, run_, site_), [](std::exception_ptr) {});
    } catch (...) {  // out of memory: some files stay in the guest
    }
  }

  Task<std::optional<Chunk>> read() override {
    const auto channel = channel_;
    const auto run = run_;
    while (!over_ && waiting_.empty() && waiting_errors_.empty()) {
      if (run->failure) throw Error(*run->failure).during("reading what " + name_ + " prints");
      const bool ended = run->ended();
      std::string text = "d=" + site_.folder + " a=" + std::to_string(seen_) +
                         " b=" + std::to_string(seen_errors_) + " w=" + (ended ? "" : "1") +
                         std::string(read_site);
      auto answer = co_await ask(channel, text, Deadline::never());
      take(answer);
      over_ = ended && waiting_.empty() && waiting_errors_.empty();
      if (over_) code_ = run->frame->code;
    }
    if (over_) co_return std::nullopt;
    Chunk chunk;
    chunk.error_output = waiting_.empty();
    chunk.bytes = std::exchange(waiting_.empty() ? waiting_errors_ : waiting_, {});
    co_return std::optional<Chunk>(std::move(chunk));
  }

  Task<void> write(std::string bytes) override {
    const auto channel = channel_;
    const auto run = run_;
    if (closed_) throw Error(Kind::usage, "the stdin of " + name_ + " was closed before");
    const auto step = "writing to " + name_;
    const auto ended = std::make_shared<bool>(false);
    try {
      if (run->ended()) throw Error(Kind::guest, "it has ended and takes no more input");
      // Opened for both directions, or the writer would wait for a reader that may be gone.
      std::string text = "exec 3<>" + site_.folder + "/i\n";
      if (bytes.size() <= small_input) {
        text += "base64 -d >&3 <<_end\n" + proto::shell_base64(bytes) + "\n_end";
      } else {
        const auto file = site_.folder + "/w";
        co_await append(channel, file, bytes, Deadline::never());
        text += "cat " + file + " >&3;rm -f " + file;
      }
      co_await async::unless(end_of_input(run, ended), ask(channel, text, Deadline::never()));
    } catch (Error& error) {
      if (*ended) co_return;
      error.during(step);
      throw;
    }
  }

  Task<void> close_input() override {
    if (std::exchange(closed_, true)) co_return;
    std::string text = "kill " + site_.holder;
    co_await ask(channel_, text, Deadline::after(30s));
  }

  Task<void> signal(int number) override {
    if (run_->ended()) co_return;
    // It may not have come to writing its number down. busybox knows no "--" for kill, dash needs
    // it.
    const auto kill = "kill -s " + std::to_string(number);
    std::string text =
        "n=0;until read p <" + site_.folder +
        "/p;do [ $n -lt 200 ]||exit 1;n=$((n+1));sleep 0.1||sleep 1;done 2>/dev/null\n{ " + kill +
        " -- -$p||" + kill + " -$p;} 2>/dev/null;exit 0";
    co_await ask(channel_, text, Deadline::after(30s));
  }

  int exit_code() const override { return code_; }
  void detach() noexcept override { detached_ = true; }

 private:
  void take(std::string_view answer) {
    auto line = answer.find('\n');
    auto sizes = base::split(answer.substr(0, line), ' ');
    if (line == answer.npos || sizes.size() != 2)
      throw Error(Kind::guest, "the guest's shell did not say what " + name_ + " printed");
    auto size = std::strtoull(sizes[0].c_str(), nullptr, 10);
    auto errors = std::strtoull(sizes[1].c_str(), nullptr, 10);
    answer.remove_prefix(line + 1);
    if (answer.size() != size + errors)
      throw Error(Kind::guest, "the guest's shell lost some of what " + name_ + " printed");
    waiting_ = answer.substr(0, size);
    waiting_errors_ = answer.substr(size);
    seen_ += size;
    seen_errors_ += errors;
  }

  std::shared_ptr<ShellChannel> channel_;
  std::shared_ptr<ShellRun> run_;
  Site site_;
  std::string name_;
  std::uint64_t seen_ = 0, seen_errors_ = 0;
  std::string waiting_, waiting_errors_;
  int code_ = 0;
  bool over_ = false, closed_ = false, detached_ = false;
};

}  // namespace

Task<std::unique_ptr<Process>> ShellGuest::spawn(Command command, Deadline deadline) {
  check(command);
  const auto channel = channel_;
  const auto name = words(command);
  std::shared_ptr<ShellRun> run;
  Site site;
  auto input = std::exchange(command.input, std::nullopt);
  try {
    auto made = co_await ask(channel, std::string(make_site), deadline);
    auto parts = base::split(base::trim(made), ' ');
    if (parts.size() != 2) throw Error(Kind::guest, "the guest's shell made no directory for it");
    site = {parts[1], parts[0]};
    co_await channel->wait_ready(deadline);
    const bool bash = channel->kind() == proto::ShellKind::bash;
    std::string text = "exec <" + site.folder + "/i >" + site.folder + "/o 2>" + site.folder +
                       "/e\necho $" + (bash ? "BASHPID" : "$") + " >" + site.folder + "/p\n" +
                       shell_text(command, channel->kind());
    run = channel->begin(text);
  } catch (Error& error) {
    error.during("starting " + name);
    throw;
  }
  std::unique_ptr<Process> process = std::make_unique<ShellProcess>(channel, run, site, name);
  if (input && !input->empty()) {
    std::string bytes = *std::move(input);
    co_await process->write(std::move(bytes));
  }
  co_return process;
}

}  // namespace attest::guest
