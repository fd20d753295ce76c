// What the topics of a Machine share: waiting for a condition, asking again and again.
#include "lib/base/text.h"
#include "lib/core/machine_impl.h"

#include <boost/asio/steady_timer.hpp>

#include <algorithm>

namespace attest {
namespace {

using namespace std::chrono_literals;

// What is asked needs a command in the guest each time, and people do not see faster.
constexpr auto first_pause = 20ms;
constexpr auto longest_pause = 500ms;

Task<std::string> ask_until(guest::Guest& guest, std::string goal, Machine::Impl::Ask ask,
                            Machine::Impl::Look look, Deadline deadline) {
  const auto started = Deadline::Clock::now();
  auto loop = co_await asio::this_coro::executor;
  asio::steady_timer timer(loop);
  std::chrono::nanoseconds pause = first_pause;
  for (;;) {
    // One that looks only once gets the time to do so.
    auto text = co_await ask(guest, std::max(deadline, Deadline::after(10s),
                                             [](auto& a, auto& b) { return a.at() < b.at(); }));
    if (auto found = look(text)) co_return std::move(*found);
    if (deadline.passed()) {
      Error late(Error::Kind::timeout,
                 "waited " + base::human(Deadline::Clock::now() - started) + " for " + goal);
      throw late.attach("the last text", base::last_lines(text, 50));
    }
    timer.expires_after(std::min<Deadline::Clock::duration>(pause, deadline.left()));
    co_await timer.async_wait(asio::use_awaitable);
    pause = std::min<std::chrono::nanoseconds>(pause * 3 / 2, longest_pause);
  }
}

}  // namespace

void Machine::Impl::wait_for(guest::Condition condition,
                             std::optional<std::chrono::milliseconds> limit, Here here) {
  in_guest(wait_limit(limit), Evidence::units_and_journal, here,
           [condition = std::move(condition)](guest::Guest& guest, Deadline deadline) {
             return guest.wait_for(condition, deadline);
           });
}

base::Pattern Machine::Impl::pattern(std::string_view regex, Here here) const {
  try {
    return base::Pattern(regex);
  } catch (const Error& e) {
    throw of_this(e, here);
  }
}

std::string Machine::Impl::wait_until(std::string goal, Ask ask, Look look,
                                      std::optional<std::chrono::milliseconds> limit, Here here) {
  return in_guest(wait_limit(limit), Evidence::none, here,
                  [&](guest::Guest& guest, Deadline deadline) {
                    return ask_until(guest, goal, ask, look, deadline);
                  });
}

}  // namespace attest
