// The calls that the test's threads have under way, so that a driver's end can wait for them.
#pragma once
#include "attest/error.h"

#include <condition_variable>
#include <mutex>

namespace attest::core {

/// Counts calls from enter() to the end of their Pass. Any thread.
class Calls {
 public:
  /// One call; it is over when this is destroyed.
  class [[nodiscard]] Pass {
   public:
    explicit Pass(Calls& calls) : calls_(calls) {}
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    ~Pass() {
      std::lock_guard hold(calls_.mutex_);  // notified under it: the waiter destroys us next
      if (--calls_.under_way_ == 0) calls_.none_.notify_all();
    }

   private:
    Calls& calls_;
  };

  /// Throws Error{usage} after close().
  Pass enter() {
    std::lock_guard hold(mutex_);
    if (closed_)
      throw Error(Error::Kind::usage, "a call came when the driver was ending, or had ended");
    ++under_way_;
    return Pass(*this);
  }
  /// Refuses calls from now on.
  void close() {
    std::lock_guard hold(mutex_);
    closed_ = true;
  }
  /// Blocks until those that were let in are over.
  void wait_for_none() {
    std::unique_lock hold(mutex_);
    none_.wait(hold, [this] { return under_way_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable none_;
  int under_way_ = 0;
  bool closed_ = false;
};

}  // namespace attest::core
