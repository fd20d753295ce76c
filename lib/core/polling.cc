#include "lib/core/polling.h"

#include "attest/error.h"
#include "attest/retry.h"

namespace attest {
namespace {
thread_local bool looking_here = false;
}

bool PollingCondition::Impl::look(std::string& why) {
  struct Here {
    bool before = std::exchange(looking_here, true);
    ~Here() { looking_here = before; }
  } here;
  try {
    why.clear();
    return holds();
  } catch (const std::exception& e) {
    why = e.what();
  } catch (...) {
    why = "it threw something that is no std::exception";
  }
  return false;
}

PollingCondition::PollingCondition(std::function<bool()> holds, PollingOptions options)
    : impl_(std::make_shared<Impl>()) {
  impl_->holds = std::move(holds);
  impl_->options = std::move(options);
}

void PollingCondition::wait(WaitOptions options, Here here) const {
  RetryOptions how;
  if (options.timeout) how.timeout = *options.timeout;
  how.longest_delay = impl_->options.interval;
  how.what = impl_->options.description;
  retry(
      [this] {
        std::string why;
        bool holds = impl_->look(why);
        if (!why.empty()) throw Error(Error::Kind::guest, why);
        return holds;
      },
      how, here);
}

PollingCondition polling_condition(std::function<bool()> holds, PollingOptions options) {
  return PollingCondition(std::move(holds), std::move(options));
}

namespace core {

void Polling::add(const Condition& condition) {
  std::lock_guard hold(mutex_);
  held_.push_back(condition);
}

void Polling::remove(const Condition& condition) {
  std::lock_guard hold(mutex_);
  for (auto one = held_.begin(); one != held_.end(); ++one)
    if (*one == condition) {
      held_.erase(one);
      return;
    }
}

void Polling::check(std::source_location here) {
  if (looking_here) return;
  std::list<Condition> held;
  {
    std::lock_guard hold(mutex_);
    if (held_.empty()) return;
    held = held_;
  }
  for (auto& condition : held) {
    std::unique_lock looking(condition->looking, std::try_to_lock);
    if (!looking || std::chrono::steady_clock::now() < condition->next) continue;
    std::string why;
    bool holds = condition->look(why);
    condition->next = std::chrono::steady_clock::now() + condition->options.interval;
    if (holds) continue;
    condition->next = {};  // the next operation finds it broken, too
    throw Error(Error::Kind::guest, "polling condition failed: " + condition->options.description)
        .attach("it said", why)
        .at(here);
  }
}

}  // namespace core
}  // namespace attest
