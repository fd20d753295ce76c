// subtest(): a named, timed part of a test, in the log, in gtest's report and in the summary.
#include "attest/gtest.h"
#include "lib/base/text.h"
#include "lib/entry/end_test.h"
#include "lib/entry/standard.h"

#include <chrono>
#include <exception>
#include <mutex>
#include <string>
#include <vector>

namespace attest {
namespace {

using Clock = std::chrono::steady_clock;

// What the summary at the end of the program tells.
class Summary final : public testing::EmptyTestEventListener {
 public:
  static Summary& of_program() {
    static auto* one = [] {
      auto* made = new Summary;  // gtest owns it
      testing::UnitTest::GetInstance()->listeners().Append(made);
      return made;
    }();
    return *one;
  }

  void add(const std::string& title, bool good, Clock::duration took) {
    std::lock_guard hold(mutex_);
    ++(good ? passed_ : failed_);
    if (took < slowest_) return;
    slowest_ = took;
    slowest_title_ = title;
  }

 private:
  void OnTestIterationEnd(const testing::UnitTest&, int) override {
    std::lock_guard hold(mutex_);
    if (passed_ + failed_ == 0) return;
    entry::say("", std::to_string(passed_ + failed_) + " subtests: " + std::to_string(passed_) +
                       " passed, " + std::to_string(failed_) + " failed; the slowest took " +
                       base::human(slowest_) + ": " + slowest_title_);
    passed_ = failed_ = 0;
    slowest_ = {};
  }

  std::mutex mutex_;
  int passed_ = 0, failed_ = 0;
  Clock::duration slowest_{};
  std::string slowest_title_;
};

// The names of the subtests that this thread is in.
thread_local std::vector<std::string> nesting;

struct Nested {
  explicit Nested(std::string_view name) { nesting.emplace_back(name); }
  ~Nested() { nesting.pop_back(); }
};

int failed_parts() {
  auto* running = testing::UnitTest::GetInstance()->current_test_info();
  if (!running) return 0;
  int failed = 0;
  for (int i = 0; i < running->result()->total_part_count(); ++i)
    failed += running->result()->GetTestPartResult(i).failed();
  return failed;
}

void finish(const std::string& path, const std::string& title, const std::string& how, bool good,
            Clock::duration took) {
  entry::say("", title + " " + how + " " + base::human(took));
  testing::Test::RecordProperty(
      "subtest " + path, std::string(good ? "passed" : "failed") + " in " + base::human(took));
  Summary::of_program().add(path, good, took);
}

}  // namespace

void subtest(std::string_view name, const std::function<void()>& body) {
  Nested nested(name);
  const std::string title = "subtest '" + std::string(name) + "'";
  const std::string path = base::join(nesting, " / ");
  const auto started = Clock::now();
  auto took = [&] { return Clock::now() - started; };
  Summary::of_program();
  entry::say("", title);
  const int failed_before = failed_parts();
  const bool skipped_before = testing::Test::IsSkipped();
  testing::internal::HasNewFatalFailureHelper watch;
  try {
    testing::ScopedTrace trace("", 0, title);
    body();
  } catch (Error& e) {
    finish(path, title, "failed after", false, took());
    e.during(title);
    throw;
  } catch (...) {  // also what ends the test from an inner subtest
    finish(path, title, "ended the test after", false, took());
    throw;
  }
  bool skipped = testing::Test::IsSkipped() && !skipped_before;
  bool ends = watch.has_new_fatal_failure() || skipped;
  bool good = !watch.has_new_fatal_failure() && failed_parts() == failed_before;
  finish(path, title, ends ? "ended the test after" : good ? "done in" : "failed in", good, took());
  if (ends) entry::end_test();
}

}  // namespace attest
