// The event loop: one thread that serves all machines of a driver. Blocking calls of the
// public API hop onto it exactly once, through run().
#pragma once
#include "lib/async/net.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <thread>

namespace attest::async {

/// Owns the loop thread. Children are spawned on it, so that it outlives them: their death
/// signal fires when the thread that spawned them ends. The thread blocks all signals: SIGPIPE
/// becomes EPIPE here, and SIGINT goes to the test's own threads.
class Loop {
 public:
  Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  /// Stops the loop, joins the thread; coroutines still suspended are destroyed.
  ~Loop();

  asio::any_io_executor executor() { return context_.get_executor(); }
  bool on_this_thread() const { return std::this_thread::get_id() == thread_.get_id(); }

  /// Runs `task` on the loop and blocks until it is done; its result or its exception comes
  /// back. Throws Error{usage} on the loop thread itself, where it would never return.
  template <class T>
  T run(Task<T> task) {
    refuse_own_thread();
    return asio::co_spawn(context_, std::move(task), asio::use_future).get();
  }

 private:
  void refuse_own_thread() const;

  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::thread thread_;
};

}  // namespace attest::async
