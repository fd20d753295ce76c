// Waking coroutines, without polling.
#pragma once
#include "lib/async/net.h"

namespace attest::async {

/// A flag that coroutines can wait for; stays set until reset(). Loop thread only.
class Event {
 public:
  explicit Event(asio::any_io_executor loop)
      : timer_(loop, asio::steady_timer::time_point::max()) {}

  bool is_set() const noexcept { return set_; }
  /// Wakes all who wait.
  void set() {
    set_ = true;
    timer_.cancel();
  }
  void reset() noexcept { set_ = false; }
  /// Wakes all who wait in next(), without leaving the flag set: "something has changed, look".
  void pulse() { timer_.cancel(); }

  /// Returns once the flag is set. Cancellation unwinds it.
  Task<void> wait() {
    while (!set_) co_await next();
  }
  /// Returns at the next set() or pulse().
  Task<void> next() { co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable)); }

 private:
  asio::steady_timer timer_;
  bool set_ = false;
};

/// Mutual exclusion among coroutines of one loop, in order of arrival as far as the loop goes.
class Mutex {
 public:
  explicit Mutex(asio::any_io_executor loop) : freed_(loop) {}

  /// Holds the mutex; destroying it lets the next one in.
  class [[nodiscard]] Lock {
   public:
    explicit Lock(Mutex* mutex) : mutex_(mutex) {}
    Lock(Lock&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
    Lock() = default;
    Lock& operator=(Lock&& other) noexcept {
      std::swap(mutex_, other.mutex_);
      return *this;
    }
    ~Lock() {
      if (mutex_) mutex_->unlock();
    }

   private:
    Mutex* mutex_ = nullptr;
  };

  Task<Lock> lock() {
    while (held_) co_await freed_.next();
    held_ = true;
    co_return Lock(this);
  }

 private:
  void unlock() {
    held_ = false;
    freed_.pulse();
  }

  Event freed_;
  bool held_ = false;
};

}  // namespace attest::async
