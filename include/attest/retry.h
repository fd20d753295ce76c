// Waiting for something that only the test body can judge.
#pragma once
#include <chrono>
#include <functional>
#include <source_location>
#include <string>

namespace attest {

/// How retry() goes on.
struct RetryOptions {
  std::chrono::milliseconds timeout = std::chrono::minutes(15);  ///< times the timeout factor
  int attempts = 0;                     ///< at most so many; 0: as many as the timeout allows
  std::chrono::milliseconds delay{10};  ///< from one attempt's end to the next one's begin
  bool growing = true;                  ///< the delay grows by half after each attempt ...
  std::chrono::milliseconds longest_delay{1000};  ///< ... up to this
  std::string what = "the condition";             ///< for the failure's message
};

/// Calls `attempt` until it returns true, at least once. An attest::Error of kind guest or
/// timeout that leaves it counts as "not yet" and is quoted in the failure; anything else
/// ends the wait. Throws Error{timeout} with the number of attempts. Waits inside the machine
/// (wait_for_...) are cheaper: use this for conditions over several machines or on the host.
///     attest::retry([&] { return web.execute("test -e /done").exit_code == 0; },
///                   {.attempts = 20, .delay = 100ms, .growing = false});
void retry(const std::function<bool()>& attempt, RetryOptions options = {},
           std::source_location here = std::source_location::current());

}  // namespace attest
