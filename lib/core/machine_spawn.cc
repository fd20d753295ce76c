// Starting a command that outlives its call.
#include "lib/core/machine_impl.h"
#include "lib/core/spawned.h"

namespace attest {

Task<std::shared_ptr<core::Spawned>> Machine::Impl::spawn(
    guest::Command command, std::string label, std::optional<std::chrono::milliseconds> limit) {
  auto run = co_await ready_guest();
  auto spawned = std::make_shared<core::Spawned>(fleet.loop.executor(), name, std::move(label));
  std::exception_ptr failure;
  try {
    spawned->process = co_await async::unless(
        core::Running::doom(run),
        run->guest->spawn(std::move(command), fleet.limit(timeouts.command)));
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) co_await explain(run, failure, Evidence::none);
  spawned->run = run;
  auto end = limit ? fleet.limit(*limit) : Deadline::never();
  asio::co_spawn(fleet.loop.executor(), core::pump(spawned, end), [](std::exception_ptr) {});
  std::erase_if(spawned_, [](auto& one) { return one.expired(); });
  spawned_.push_back(spawned);
  co_return spawned;
}

}  // namespace attest
