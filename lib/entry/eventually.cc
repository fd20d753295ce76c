// The attempts of ATTEST_EVENTUALLY: their pace and their story.
#include "attest/deadline.h"
#include "attest/matchers.h"
#include "lib/base/text.h"
#include "lib/core/timeout_factor.h"

#include <algorithm>
#include <deque>
#include <thread>

namespace attest::detail {
namespace {

using namespace std::chrono_literals;
constexpr auto first_pause = 10ms;
constexpr auto longest_pause = 500ms;
constexpr std::size_t most_entries = 20;

Deadline scaled(std::chrono::milliseconds limit) {
  auto ms = std::chrono::duration<double, std::milli>(static_cast<double>(limit.count()) *
                                                      core::timeout_factor());
  auto longest = std::chrono::duration<double, std::milli>(std::chrono::hours(24 * 365));
  return Deadline::after(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::min(ms, longest)));
}

}  // namespace

struct Attempts::Impl {
  explicit Impl(std::chrono::milliseconds limit) : deadline(scaled(limit)) {}

  /// The same answer, so many times on end.
  struct Entry {
    std::string what;
    std::chrono::nanoseconds since;
    int times = 1;
  };
  const Deadline deadline;
  const Deadline::Clock::time_point started = Deadline::Clock::now();
  std::chrono::nanoseconds pause = first_pause;
  std::deque<Entry> log;
  int attempts = 0, forgotten = 0;
};

Attempts::Attempts(std::chrono::milliseconds limit) : impl_(std::make_unique<Impl>(limit)) {}
Attempts::~Attempts() = default;

void Attempts::note(std::string what) {
  ++impl_->attempts;
  auto& log = impl_->log;
  if (!log.empty() && log.back().what == what) {
    ++log.back().times;
    return;
  }
  log.push_back({std::move(what), Deadline::Clock::now() - impl_->started});
  if (log.size() <= most_entries) return;
  impl_->forgotten += log.front().times;
  log.pop_front();
}

void Attempts::note_error(const Error& error) {
  if (error.kind() != Error::Kind::guest && error.kind() != Error::Kind::timeout) throw error;
  note(std::string("it failed: ") + error.what());
}

bool Attempts::again() {
  if (impl_->deadline.passed()) return false;
  // The condition is the caller's: nothing can wake us, so this is one of the few real sleeps.
  std::this_thread::sleep_for(
      std::min<Deadline::Clock::duration>(impl_->pause, impl_->deadline.left()));
  impl_->pause = std::min<std::chrono::nanoseconds>(impl_->pause * 3 / 2, longest_pause);
  return true;
}

std::string Attempts::story(const std::string& expression, const std::string& expected) const {
  std::string text = "Value of: " + expression + "\nExpected: eventually " + expected +
                     "\n  Actual: " + impl_->log.back().what + "\nafter " +
                     base::human(Deadline::Clock::now() - impl_->started) + " and " +
                     std::to_string(impl_->attempts) +
                     (impl_->attempts == 1 ? " attempt:" : " attempts:");
  if (impl_->forgotten) text += "\n  (" + std::to_string(impl_->forgotten) + " earlier ones)";
  for (auto& entry : impl_->log) {
    auto first_line = entry.what.substr(0, entry.what.find('\n'));
    text += "\n  at " + base::human(entry.since) + ": " + first_line;
    if (entry.times > 1) text += " (" + std::to_string(entry.times) + " times)";
  }
  return text;
}

}  // namespace attest::detail
