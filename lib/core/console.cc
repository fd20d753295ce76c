#include "lib/core/console.h"

namespace attest::core {
namespace {
using namespace std::chrono_literals;
constexpr int most_lines_a_second = 1000;  // a terminal that scrolls must not slow the machine down
}  // namespace

Console::Console(asio::any_io_executor loop, Sink show, Sink on_fatal)
    : loop_(std::move(loop)),
      show_(std::move(show)),
      log_([this](std::string_view line) { take(line); }, std::move(on_fatal)) {}

void Console::feed(std::string_view bytes) {
  // Not at each line: of short ones the clock would be most of the work.
  if (auto now = Clock::now(); now - second_ >= 1s) {
    tell_unshown();
    second_ = now;
    shown_ = 0;
  }
  log_.feed(bytes);
  if (waiters_.empty()) return;
  if (auto prompt = log_.unfinished(); !prompt.empty()) look(prompt);
}

void Console::finish() {
  log_.finish();
  tell_unshown();
}

void Console::take(std::string_view line) {
  look(line);
  show(line);
}

void Console::look(std::string_view line) {
  for (auto* waiter : waiters_) {
    if (waiter->found.is_set() || !waiter->pattern.found_in(line)) continue;
    waiter->line = line;
    waiter->found.set();
  }
}

void Console::show(std::string_view line) {
  if (++shown_ <= most_lines_a_second)
    show_(line);
  else
    ++unshown_;
}

void Console::tell_unshown() {
  if (auto count = std::exchange(unshown_, 0))
    show_("(" + std::to_string(count) + " lines more, which only the console's log has)");
}

Task<std::string> Console::wait_for(base::Pattern pattern) {
  for (auto& line : log_.lines())
    if (pattern.found_in(line)) co_return line;
  if (auto prompt = log_.unfinished(); !prompt.empty() && pattern.found_in(prompt))
    co_return prompt;
  Waiter waiter{pattern, async::Event(loop_), {}};
  struct Registration {
    std::list<Waiter*>& all;
    std::list<Waiter*>::iterator place;
    ~Registration() { all.erase(place); }
  } registration{waiters_, waiters_.insert(waiters_.end(), &waiter)};
  co_await waiter.found.wait();
  co_return std::move(waiter.line);
}

}  // namespace attest::core
