// The serial console of one machine as the driver uses it: its log, those who wait for a line of
// it, and how much of it people are shown.
#pragma once
#include "lib/async/event.h"
#include "lib/base/pattern.h"
#include "lib/report/console_log.h"

#include <chrono>
#include <functional>
#include <list>
#include <string>
#include <string_view>

namespace attest::core {

/// Loop thread only.
class Console {
 public:
  using Sink = std::function<void(std::string_view)>;

  /// `show` gets the lines for people: all, unless there are more than 1000 in a second, when a
  /// count stands for the rest. `on_fatal` as in ConsoleLog.
  Console(asio::any_io_executor loop, Sink show, Sink on_fatal);

  void write_to(const std::string& path) { log_.write_to(path); }
  void feed(std::string_view bytes);
  void finish();
  std::string text() const { return log_.text(); }
  std::string tail(std::size_t n) const { return log_.tail(n); }

  /// The first line, remembered or to come, in which `pattern` is found; an unfinished one counts.
  Task<std::string> wait_for(base::Pattern pattern);

 private:
  using Clock = std::chrono::steady_clock;
  struct Waiter {
    const base::Pattern& pattern;
    async::Event found;
    std::string line;
  };

  void take(std::string_view line);
  void look(std::string_view line);
  void show(std::string_view line);
  void tell_unshown();

  asio::any_io_executor loop_;
  Sink show_;
  report::ConsoleLog log_;
  std::list<Waiter*> waiters_;
  Clock::time_point second_{};  ///< when the second began whose lines are counted
  int shown_ = 0;
  long unshown_ = 0;
};

}  // namespace attest::core
