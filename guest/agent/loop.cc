#include "guest/agent/loop.h"

#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

namespace attest::agent {
namespace {

struct Watch {
  std::uint32_t generation;
  Loop::IoCallback callback;
};

// The descriptor with the generation of its watch: an event that was fetched before its watch was
// taken back must not reach the next one of the same number.
std::uint64_t token(int fd, std::uint32_t generation) {
  return static_cast<std::uint64_t>(generation) << 32 | static_cast<std::uint32_t>(fd);
}

}  // namespace

struct Loop::State {
  int epoll = -1;
  int signals = -1;
  bool stopped = false;
  std::uint32_t generations = 0;
  Timer timers_made = 0;
  std::unordered_map<int, std::shared_ptr<Watch>> watches;
  std::map<std::pair<Clock::time_point, Timer>, Callback> timers;
  std::unordered_map<Timer, Clock::time_point> when;
  std::vector<Callback> soon;
  std::unordered_map<pid_t, ExitCallback> children;

  void reap() {
    signalfd_siginfo info[16];
    while (read(signals, info, sizeof info) > 0) continue;
    int status = 0;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
      auto found = children.find(pid);
      if (found == children.end()) continue;
      auto callback = std::move(found->second);
      children.erase(found);
      callback(status);
    }
  }

  void run_soon() {
    // What they add runs in the next round, so that descriptors get their turn.
    for (auto& callback : std::exchange(soon, {})) callback();
  }

  void run_timers() {
    const auto now = Clock::now();
    while (!timers.empty() && timers.begin()->first.first <= now) {
      auto node = timers.extract(timers.begin());
      when.erase(node.key().second);
      node.mapped()();
    }
  }

  // Milliseconds, rounded up: waking early would only mean to wait again.
  int patience() const {
    if (!soon.empty()) return 0;
    if (timers.empty()) return -1;
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(timers.begin()->first.first - Clock::now());
    return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
  }

  void dispatch(const epoll_event& event) {
    const int fd = static_cast<int>(event.data.u64 & 0xffffffff);
    auto found = watches.find(fd);
    if (found == watches.end() || found->second->generation != event.data.u64 >> 32) return;
    auto watch = found->second;  // keeps the callback while it runs, whatever it does
    watch->callback(event.events);
  }
};

Loop::Loop() : state_(new State) {
  state_->epoll = epoll_create1(EPOLL_CLOEXEC);
  sigset_t ours;
  sigemptyset(&ours);
  sigaddset(&ours, SIGCHLD);
  sigprocmask(SIG_BLOCK, &ours, nullptr);
  state_->signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
  watch(state_->signals, EPOLLIN, [state = state_](std::uint32_t) { state->reap(); });
}

bool Loop::watch(int fd, std::uint32_t events, IoCallback callback) {
  forget(fd);
  const auto generation = ++state_->generations;
  epoll_event event{};
  event.events = events;
  event.data.u64 = token(fd, generation);
  if (epoll_ctl(state_->epoll, EPOLL_CTL_ADD, fd, &event) != 0) return false;
  state_->watches[fd] = std::make_shared<Watch>(Watch{generation, std::move(callback)});
  return true;
}

void Loop::change(int fd, std::uint32_t events) {
  auto found = state_->watches.find(fd);
  if (found == state_->watches.end()) return;
  epoll_event event{};
  event.events = events;
  event.data.u64 = token(fd, found->second->generation);
  epoll_ctl(state_->epoll, EPOLL_CTL_MOD, fd, &event);
}

void Loop::forget(int fd) {
  if (state_->watches.erase(fd) != 0) epoll_ctl(state_->epoll, EPOLL_CTL_DEL, fd, nullptr);
}

Loop::Timer Loop::at(Clock::time_point when, Callback callback) {
  const auto timer = ++state_->timers_made;
  state_->timers.emplace(std::pair(when, timer), std::move(callback));
  state_->when.emplace(timer, when);
  return timer;
}

void Loop::cancel(Timer timer) {
  auto found = state_->when.find(timer);
  if (found == state_->when.end()) return;
  // Destroyed last: what it holds may cancel other timers.
  auto node = state_->timers.extract({found->second, timer});
  state_->when.erase(found);
}

void Loop::later(Callback callback) { state_->soon.push_back(std::move(callback)); }

void Loop::on_exit(pid_t pid, ExitCallback callback) {
  // An orphan that ended before anybody asked for it was reaped without a word.
  if (kill(pid, 0) != 0 && errno == ESRCH) {
    later([callback = std::move(callback)] { callback(SIGKILL); });
    return;
  }
  state_->children[pid] = std::move(callback);
}

void Loop::forget_exit(pid_t pid) { state_->children.erase(pid); }

void Loop::run() {
  state_->stopped = false;
  epoll_event events[64];
  while (!state_->stopped) {
    const int count = epoll_wait(state_->epoll, events, 64, state_->patience());
    for (int i = 0; i < count && !state_->stopped; ++i) state_->dispatch(events[i]);
    state_->run_timers();
    state_->run_soon();
  }
}

void Loop::stop() { state_->stopped = true; }

}  // namespace attest::agent
