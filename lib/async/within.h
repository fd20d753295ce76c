// Races: an operation against a deadline, or against an event that makes it pointless.
#pragma once
#include "lib/async/net.h"

#include <boost/asio/experimental/parallel_group.hpp>

#include <exception>
#include <string>
#include <type_traits>
#include <utility>

namespace attest::async {

/// Runs `op` until `deadline`, then cancels it and throws Error{timeout}. `op` has fully
/// unwound before this returns, so nothing of it runs later. Works on Boost 1.81, which has
/// no cancel_at. T must be default-constructible.
template <class T>
Task<T> within(Deadline deadline, std::string step, Task<T> op) {
  auto loop = co_await asio::this_coro::executor;
  asio::steady_timer timer(loop, deadline.at());
  auto done =
      co_await asio::experimental::make_parallel_group(
          asio::co_spawn(loop, std::move(op), asio::deferred), timer.async_wait(asio::deferred))
          .async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
  if (std::get<0>(done)[0] == 1) throw Error(Error::Kind::timeout, "deadline passed").during(step);
  if (std::get<1>(done)) std::rethrow_exception(std::get<1>(done));
  if constexpr (!std::is_void_v<T>) co_return std::move(std::get<2>(done));
}

/// Runs `op` until `interruption` ends; that one must end by throwing what broke, and is
/// cancelled when `op` is first. Whatever loses has fully unwound before this returns.
template <class T>
Task<T> unless(Task<void> interruption, Task<T> op) {
  auto loop = co_await asio::this_coro::executor;
  auto done = co_await asio::experimental::make_parallel_group(
                  asio::co_spawn(loop, std::move(op), asio::deferred),
                  asio::co_spawn(loop, std::move(interruption), asio::deferred))
                  .async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
  if (std::get<0>(done)[0] == 1) {
    std::exception_ptr why;
    if constexpr (std::is_void_v<T>)
      why = std::get<2>(done);
    else
      why = std::get<3>(done);
    if (why) std::rethrow_exception(why);
    throw Error(Error::Kind::protocol, "an interruption ended without saying why");
  }
  if (std::get<1>(done)) std::rethrow_exception(std::get<1>(done));
  if constexpr (!std::is_void_v<T>) co_return std::move(std::get<2>(done));
}

}  // namespace attest::async
