// Several coroutines at once, joined always.
#pragma once
#include "lib/async/event.h"

#include <exception>
#include <memory>
#include <vector>

namespace attest::async {

/// Runs all `tasks` at the same time and returns when the last one has ended, with what each
/// threw (null for those that succeeded), in their order. Not cancellable half-way.
inline Task<std::vector<std::exception_ptr>> all(std::vector<Task<void>> tasks) {
  struct State {
    explicit State(asio::any_io_executor loop) : done(loop) {}
    Event done;
    std::size_t left = 0;
    std::vector<std::exception_ptr> failures;
  };
  auto loop = co_await asio::this_coro::executor;
  auto state = std::make_shared<State>(loop);
  state->left = tasks.size();
  state->failures.resize(tasks.size());
  for (std::size_t i = 0; i < tasks.size(); ++i)
    asio::co_spawn(loop, std::move(tasks[i]), [state, i](std::exception_ptr failure) {
      state->failures[i] = failure;
      if (--state->left == 0) state->done.set();
    });
  if (!tasks.empty()) co_await state->done.wait();
  co_return state->failures;
}

}  // namespace attest::async
