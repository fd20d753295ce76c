// How a machine goes down: in order, by its plug, by itself, or to come up again.
#include "lib/core/machine_impl.h"
#include "lib/core/spawned.h"

#include <chrono>

namespace attest {
namespace {

using namespace std::chrono_literals;
constexpr auto patience_with_a_wish = 20s;  // for the guest's "yes", not for its end

}  // namespace

Task<bool> Machine::Impl::ask_down(std::shared_ptr<core::Running> run, guest::Power wish,
                                   Deadline deadline) {
  if (!run->guest || backend_->power_control() != PowerControl::guest) co_return false;
  auto soon = deadline.earlier(Deadline::after(patience_with_a_wish));
  try {
    co_await async::unless(core::Running::doom(run), run->guest->power(wish, soon));
  } catch (const Error&) {  // it may be hung, or gone already: the backend is asked next
    co_return run->doomed.is_set();
  }
  co_return true;
}

Task<void> Machine::Impl::go_down(std::shared_ptr<core::Running> run, Deadline deadline) {
  bool asked = co_await ask_down(run, guest::Power::off, deadline);
  if (asked) co_return co_await async::within(deadline, "waiting for its end", run->watched.wait());
  // One that keeps to its deadline says more than we can: it gets a moment to do so.
  co_await async::within(Deadline::after(deadline.left() + 1s), "waiting for it to power off",
                         backend_->shutdown(deadline));
}

Task<void> Machine::Impl::shutdown() {
  auto lock = co_await lifecycle_.lock();
  auto run = running_;
  if (!run || run->doomed.is_set()) co_return;
  auto deadline = fleet.limit(timeouts.shutdown);
  std::optional<Error> failure;
  try {
    co_await go_down(run, deadline);
  } catch (const Error& e) {
    failure = e;
  } catch (const std::exception& e) {
    failure = Error(Error::Kind::host, e.what());
  }
  backend_->kill();
  co_await run->watched.wait();
  running_.reset();
  up = false;
  if (!failure) co_return;
  failure->during("shutting down machine '" + name + "', which was killed then");
  attach_console(*failure);
  throw *failure;
}

Task<bool> Machine::Impl::restarted(std::shared_ptr<core::Running> run, Deadline deadline) {
  try {
    co_await async::unless(core::Running::doom(run), run->guest->wait_restarted(deadline));
    co_return true;
  } catch (const Error&) {
    if (!run->doomed.is_set() || !run->end.orderly) throw;
  }
  co_return false;
}

Task<void> Machine::Impl::reboot(std::optional<std::chrono::milliseconds> limit) {
  auto run = co_await ready_guest();
  if (backend_->power_control() == PowerControl::nobody)
    throw Error(Error::Kind::unsupported,
                "machine '" + name + "' (" + config.backend + ") is not ours to reboot")
        .hint("say in the config that it may be: machines." + name + "." + config.backend +
              ".allow_power");
  auto deadline = fleet.limit(limit.value_or(timeouts.shutdown + timeouts.boot));
  std::exception_ptr failure;
  try {
    bool asked = co_await ask_down(run, guest::Power::reboot, deadline);
    bool same_process = false;
    if (asked && config.allow_reboot) same_process = co_await restarted(run, deadline);
    if (same_process) {
      run->ready = run->was_ready = false;
      run->shared = false;
    } else if (asked) {
      co_await async::within(deadline, "waiting for its end", run->watched.wait());
    }
    if (!asked) co_await shutdown();
    rebooting_ = !same_process;
    co_await async::within(deadline, "waiting until it is up again", ready_again());
    co_return;
  } catch (...) {
    failure = std::current_exception();
  }
  co_await explain(run, failure, Evidence::none);
}

Task<void> Machine::Impl::ready_again() { co_await ready_guest(); }

Task<void> Machine::Impl::crash() { return pull_plug("crash() pulled its plug"); }

Task<void> Machine::Impl::pull_plug(std::string cause) {
  // Without the lifecycle's lock first: a boot or an orderly shutdown under way ends by this.
  if (running_) condemn(*running_, {.orderly = false, .cause = cause});
  if (starting_) condemn(*starting_, {.orderly = false, .cause = cause});
  if (backend_) backend_->kill();
  auto lock = co_await lifecycle_.lock();
  if (running_) condemn(*running_, {.orderly = false, .cause = cause});
  if (backend_) backend_->kill();
  if (running_) co_await running_->watched.wait();
  running_.reset();
  boot_failure_.reset();
  up = false;
}

Task<void> Machine::Impl::wait_for_shutdown(std::chrono::milliseconds limit) {
  auto run = running_;
  if (!run) co_return;
  co_await async::within(fleet.limit(limit), "waiting for machine '" + name + "' to power off",
                         run->doomed.wait());
  if (run->replaced.is_set())
    co_return co_await wait_for_shutdown(limit);  // of the one in its place
  if (run->end.orderly) co_return co_await run->watched.wait();
  auto error = run->obituary();
  attach_console(error);
  throw error;
}

Task<void> Machine::Impl::close() {
  ended_ = true;
  co_await end_forwards();
  co_await pull_plug("its driver ended");
  // Their handles may live on; what they have on the loop may not.
  for (auto& one : std::exchange(spawned_, {}))
    if (auto spawned = one.lock()) co_await core::Spawned::wait_ended(spawned->signals);
  auto lock = co_await links_.lock();  // nobody tells the backend of a cable any more
  *listening_ = false;
  backend_.reset();
}

}  // namespace attest
