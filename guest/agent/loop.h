// The agent's event loop: epoll, timers, and the ends of child processes. One thread, no Asio.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>

namespace attest::agent {

using Clock = std::chrono::steady_clock;

/// Calls back when descriptors are ready, times come, children end. The one instance lives as long
/// as the program; whoever registers something takes it back before it goes.
class Loop {
 public:
  using Callback = std::function<void()>;
  using IoCallback = std::function<void(std::uint32_t events)>;
  using ExitCallback = std::function<void(int wait_status)>;
  using Timer = std::uint64_t;  ///< 0 is none

  Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Watches `fd` (level-triggered EPOLLIN, EPOLLOUT, EPOLLPRI, ...). A callback may add, change
  /// and remove any descriptor, also its own. False with errno for what epoll refuses (regular
  /// files).
  bool watch(int fd, std::uint32_t events, IoCallback callback);
  /// Other events for a watched descriptor; 0 keeps it and reports only errors and hang-ups.
  void change(int fd, std::uint32_t events);
  /// Before closing `fd`. Nothing to do if it is not watched.
  void forget(int fd);

  /// Calls once at `when`. Cancelling a timer that has run, or 0, does nothing.
  Timer at(Clock::time_point when, Callback callback);
  void cancel(Timer timer);
  /// Calls once, when the events at hand are through; for what may not happen inside of a callback.
  void later(Callback callback);

  /// Calls once when the child `pid` has ended, with its wait status; it is reaped then. The agent
  /// is a subreaper: orphans of commands arrive here, too, and are reaped without a word.
  void on_exit(pid_t pid, ExitCallback callback);
  void forget_exit(pid_t pid);

  /// Runs until stop().
  void run();
  void stop();

 private:
  struct State;
  State* state_;  // never freed: the loop lives as long as the program
};

}  // namespace attest::agent
