#include "guest/agent/resident_shell.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <utility>

#include "guest/agent/shell_text.h"
#include "guest/agent/spawn.h"

extern char** environ;

namespace attest::agent {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t few = 2, many = 8;  // executors to have spare: idle, busy
constexpr auto idle_time = 5s;
constexpr auto patience = 20s;  // for a profile, or for a batch of executors
constexpr int most_failures = 5;

bool make_pipe(Fd& read_end, Fd& write_end) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return false;
  read_end.reset(ends[0]);
  write_end.reset(ends[1]);
  return true;
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const auto count = write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

// What systemd and others tell the agent about itself is not for commands.
bool is_ours(std::string_view entry) {
  for (std::string_view name :
       {"NOTIFY_SOCKET=", "LISTEN_", "WATCHDOG_", "INVOCATION_ID=", "JOURNAL_STREAM=", "MAINPID=",
        "SYSTEMD_EXEC_PID=", "MEMORY_PRESSURE_", "FDSTORE=", "CREDENTIALS_DIRECTORY=", "_at_",
        "BASH_ENV=", "PWD=", "OLDPWD=", "SHLVL=", "_="})
    if (entry.starts_with(name)) return true;
  return false;
}

// A root login's, before /etc/profile adds to it.
std::vector<std::string> first_environment() {
  std::vector<std::string> env;
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (!is_ours(*entry)) env.emplace_back(*entry);
  auto name = user_name(getuid());
  if (name.empty()) name = "root";
  const auto user = find_user(name);
  env_set(env, "USER=" + name);
  env_set(env, "LOGNAME=" + name);
  env_set(env, "HOME=" + (user ? user->home : "/root"));
  env_set(env, "DISPLAY=:0.0");
  if (env_value(env, "PATH").empty()) env_set(env, std::string("PATH=") + default_path);
  return env;
}

}  // namespace

struct ResidentShell::Seat {
  Fd control_in, control, out, out_in, err, err_in, script;
  pid_t pid = -1;  // once it is there
  unsigned batch = 0;
};

struct ResidentShell::Waiting {
  std::weak_ptr<void> owner;
  std::string script;
  bool with_input;
  Taker taker;
};

ResidentShell::ResidentShell(Loop& loop) : loop_(loop), environment_(first_environment()) {
  start();
}

ResidentShell::~ResidentShell() {
  loop_.cancel(timer_);
  loop_.cancel(idle_timer_);
  loop_.forget(report_.get());
  if (pid_ > 0) {
    loop_.forget_exit(pid_);
    kill(pid_, SIGKILL);
  }
  drop_coming();
  for (auto& seat : spare_) loop_.forget_exit(seat->pid);
}

void ResidentShell::start() {
  started_ = Clock::now();
  ready_ = false;
  reported_.clear();
  stat("/tmp", &directory_);
  // NixOS gives its services a PATH without a bash.
  if (!start_with({"bash", "--noprofile", "--norc", "-c", "eval \"$_at_S\"", "bash"},
                  resident_program()) &&
      !start_with({"sh", "-c", "eval \"$_at_S\"", "sh"}, plain_environment_program()))
    give_up();
}

bool ResidentShell::start_with(const std::vector<std::string>& argv, std::string_view program) {
  Fd control_in, report_out;
  if (!make_pipe(control_in, control_) || !make_pipe(report_, report_out)) return false;
  // bash waits on it, and must not be told to try again.
  fcntl(control_in.get(), F_SETFL, 0);
  fcntl(report_out.get(), F_SETFL, 0);
  Program shell;
  shell.argv = argv;
  shell.env = first_environment();
  shell.path = std::string(env_value(shell.env, "PATH")) + ":" + default_path;
  env_set(shell.env, "_at_S=" + std::string(program));
  env_set(shell.env, "_at_P=" + std::to_string(getpid()));
  env_set(shell.env, std::string("_at_Q=") + (without_profile_ ? "1" : ""));
  shell.out = report_out.get();
  shell.extra = control_in.get();
  const auto spawned = spawn(shell);
  if (spawned.failed != Spawned::Step::none) return false;
  pid_ = spawned.pid;
  loop_.on_exit(pid_, [this](int) { ended(); });
  loop_.watch(report_.get(), EPOLLIN, [this](std::uint32_t) { take_report(); });
  timer_ = loop_.at(Clock::now() + patience, [this] {
    timer_ = 0;
    kill(pid_, SIGKILL);
  });
  return true;
}

void ResidentShell::take_report() {
  char buffer[4096];
  const auto count = read(report_.get(), buffer, sizeof buffer);
  if (count < 0) return;
  if (ready_) return count == 0 ? loop_.forget(report_.get()) : batches_done(count);
  reported_.append(buffer, static_cast<std::size_t>(count));
  // Ended by an empty variable, or by the end of a plain sh.
  const bool whole = reported_.ends_with(std::string_view("\0\0", 2)) && reported_.size() > 2;
  if (count != 0 && !whole && reported_.size() < (1 << 20)) return;
  if (count == 0) loop_.forget(report_.get());
  if (whole || reported_.find('=') != reported_.npos) take_environment();  // else ended() is next
}

void ResidentShell::take_environment() {
  std::vector<std::string> words;
  for (std::string_view rest = reported_; !rest.empty();) {
    const auto at = rest.find('\0');
    if (at != 0) words.emplace_back(rest.substr(0, at));
    rest.remove_prefix(at == rest.npos ? rest.size() : at + 1);
  }
  shell_ = words[0];
  words.erase(words.begin());
  std::erase_if(words, is_ours);
  environment_ = std::move(words);
  std::string().swap(reported_);
  loop_.cancel(std::exchange(timer_, 0));
  become_ready();
}

void ResidentShell::become_ready() {
  ready_ = known_ = true;
  if (!is_bash()) control_.reset();
  auto callbacks = std::exchange(ready_callbacks_, {});
  for (auto& [owner, callback] : callbacks)
    if (!owner.expired()) callback();
  serve();
}

void ResidentShell::ended() {
  pid_ = -1;
  loop_.cancel(std::exchange(timer_, 0));
  if (ready_ && !is_bash()) return;  // all that it was for
  loop_.forget(report_.get());
  report_.reset();
  control_.reset();
  drop_coming();
  // A profile that ends its shell, or never ends, is left out.
  if (!ready_) without_profile_ = true;
  failures_ = Clock::now() - started_ > 2s ? 1 : failures_ + 1;
  if (failures_ >= most_failures) return give_up();
  if (failures_ == 1) return start();
  timer_ = loop_.at(Clock::now() + failures_ * 20ms, [this] {
    timer_ = 0;
    start();
  });
}

// Texts get shells of their own until it works again.
void ResidentShell::give_up() {
  control_.reset();
  failures_ = 0;
  become_ready();
  timer_ = loop_.at(Clock::now() + 10s, [this] {
    timer_ = 0;
    start();
  });
}

void ResidentShell::when_ready(std::weak_ptr<void> owner, std::function<void()> callback) {
  if (known_) return callback();
  ready_callbacks_.emplace_back(std::move(owner), std::move(callback));
}

void ResidentShell::run(std::weak_ptr<void> owner, const Text& text, Taker taker) {
  struct stat now{};
  const bool moved = stat("/tmp", &now) == 0 &&
                     (now.st_dev != directory_.st_dev || now.st_ino != directory_.st_ino);
  auto waiting = std::make_unique<Waiting>(
      Waiting{std::move(owner), executor_script(text.text, text.env, text.with_input, moved),
              text.with_input, std::move(taker)});
  waiting_.push_back(std::move(waiting));
  target_ = many;
  loop_.cancel(idle_timer_);
  idle_timer_ = loop_.at(Clock::now() + idle_time, [this] { shrink(); });
  serve();
}

void ResidentShell::serve() {
  while (!waiting_.empty()) {
    if (waiting_.front()->owner.expired()) {
      waiting_.pop_front();
      continue;
    }
    if (spare_.empty()) break;
    auto seat = std::move(spare_.front());
    spare_.pop_front();
    loop_.forget_exit(seat->pid);
    auto next = std::move(waiting_.front());
    waiting_.pop_front();
    if (!hand_over(*seat, *next)) waiting_.push_front(std::move(next));  // it has died: another one
  }
  if (ready_ && !control_) refuse_waiting();
  refill();
}

void ResidentShell::refuse_waiting() {
  for (auto& waiting : std::exchange(waiting_, {}))
    if (!waiting->owner.expired()) waiting->taker(nullptr);
}

bool ResidentShell::hand_over(Seat& seat, Waiting& waiting) {
  if (!write_all(seat.script.get(), waiting.script) || !write_all(seat.control.get(), "x"))
    return false;
  Executor executor{seat.pid, std::move(seat.control), std::move(seat.out), std::move(seat.err)};
  if (!waiting.with_input) executor.in.reset();
  waiting.taker(&executor);
  return true;
}

// First for those who wait, as soon as can be; then the spare ones, in batches: what forks them is
// forked for each batch.
void ResidentShell::refill() {
  if (!control_ || !ready_) return;
  while (coming_.size() < std::min(waiting_.size(), 2 * many))
    if (!order(std::min(waiting_.size() - coming_.size(), many))) return;
  const auto have = spare_.size() + coming_.size() - std::min(coming_.size(), waiting_.size());
  if (have <= target_ / 4) order(target_ - have);
}

bool ResidentShell::order(std::size_t count) {
  std::string line;
  std::list<std::unique_ptr<Seat>> made;
  for (; count > 0; --count) {
    auto seat = make_seat();
    if (!seat) break;
    for (int fd :
         {seat->control_in.get(), seat->out_in.get(), seat->err_in.get(), seat->script.get()})
      line += std::to_string(fd) + " ";
    seat->batch = ordered_ + 1;
    made.push_back(std::move(seat));
  }
  if (made.empty()) {
    // No descriptors, and nothing under way that will give some back to those who wait.
    if (spare_.empty() && coming_.empty()) refuse_waiting();
    return false;
  }
  line.back() = '\n';
  if (!write_all(control_.get(), line)) return false;  // it has ended; ended() is next
  ++ordered_;
  for (auto& made_seat : made) {
    Seat& seat = *made_seat;
    coming_.push_back(std::move(made_seat));
    loop_.watch(seat.out.get(), EPOLLIN, [this, &seat](std::uint32_t) { seat_there(seat); });
  }
  if (timer_ == 0) {
    timer_ = loop_.at(Clock::now() + patience, [this] {
      timer_ = 0;
      if (pid_ > 0) kill(pid_, SIGKILL);  // a new one, and new executors
    });
  }
  return true;
}

std::unique_ptr<ResidentShell::Seat> ResidentShell::make_seat() {
  auto seat = std::make_unique<Seat>();
  seat->script.reset(memfd_create("attest", MFD_CLOEXEC));
  if (!seat->script || !make_pipe(seat->control_in, seat->control) ||
      !make_pipe(seat->out, seat->out_in) || !make_pipe(seat->err, seat->err_in))
    return nullptr;
  return seat;
}

void ResidentShell::seat_there(Seat& seat) {
  char buffer[32];
  const auto count = read(seat.out.get(), buffer, sizeof buffer);
  if (count <= 0) return;
  std::from_chars(buffer, buffer + count, seat.pid);
  loop_.forget(seat.out.get());
  seat.control_in.reset();
  seat.out_in.reset();
  seat.err_in.reset();
  take_ready();
}

void ResidentShell::batches_done(ssize_t count) {
  forked_ += static_cast<unsigned>(count);
  take_ready();
}

// Before its batch is through, an executor's parent is another bash, which would reap it.
void ResidentShell::take_ready() {
  for (auto at = coming_.begin(); at != coming_.end();) {
    const auto seat = at++;
    if ((*seat)->pid < 0 || (*seat)->batch > forked_) continue;
    const auto pid = (*seat)->pid;
    spare_.splice(spare_.end(), coming_, seat);
    loop_.on_exit(pid, [this, pid](int) {
      std::erase_if(spare_, [pid](auto& spare) { return spare->pid == pid; });
      refill();
    });
  }
  if (coming_.empty()) loop_.cancel(std::exchange(timer_, 0));
  serve();
}

void ResidentShell::shrink() {
  idle_timer_ = 0;
  target_ = few;
  // Without control it ends.
  while (spare_.size() > few) {
    loop_.forget_exit(spare_.back()->pid);
    spare_.pop_back();
  }
}

void ResidentShell::drop_coming() {
  ordered_ = forked_ = 0;
  for (auto& seat : coming_) loop_.forget(seat->out.get());
  coming_.clear();
}

}  // namespace attest::agent
