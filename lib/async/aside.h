// Work that blocks, on a thread of its own, while the loop goes on.
#pragma once
#include "lib/async/event.h"

#include <boost/asio/post.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

namespace attest::async {

/// Runs `work` on another thread and returns what it returns or throws. Cancelling this waits for
/// `work`, which must therefore end by itself within a short time.
template <class Work>
Task<std::invoke_result_t<Work&>> aside(Work work) {
  using Result = std::invoke_result_t<Work&>;
  auto loop = co_await asio::this_coro::executor;
  // Shared with what the thread posts, which may come after a cancelled caller has unwound.
  auto done = std::make_shared<Event>(loop);
  std::optional<Result> result;
  std::exception_ptr failure;
  // Joined when this coroutine ends, so that it may point into it.
  std::jthread thread([&] {
    try {
      result.emplace(work());
    } catch (...) {
      failure = std::current_exception();
    }
    asio::post(loop, [done] { done->set(); });
  });
  co_await done->wait();
  if (failure) std::rethrow_exception(failure);
  co_return std::move(*result);
}

}  // namespace attest::async
