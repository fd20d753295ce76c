// wait_all(): several bodies of a TEST at the same time.
#include "attest/gtest.h"
#include "lib/entry/end_test.h"

#include <gtest/gtest-spi.h>

#include <exception>
#include <optional>
#include <thread>

namespace attest {
namespace {

// gtest has no way to read the SCOPED_TRACEs of a thread, but prints them into every failure:
// make one where nobody sees it.
std::string current_traces() {
  testing::TestPartResultArray caught;
  {
    testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &caught);
    ADD_FAILURE();
  }
  std::string message = caught.GetTestPartResult(0).message();
  constexpr std::string_view title = "Google Test trace:\n";
  auto start = message.find(title);
  return start == std::string::npos ? "" : message.substr(start + title.size());
}

struct Outcome {
  std::optional<Error> error;
  std::exception_ptr other;  // not an attest::Error
  bool fatal = false;
};

void run_step(const Step& step, const std::string& traces, std::source_location here,
              Outcome& outcome) {
  std::optional<testing::ScopedTrace> trace;
  if (!traces.empty()) trace.emplace(here.file_name(), static_cast<int>(here.line()), traces);
  testing::internal::HasNewFatalFailureHelper watch;
  try {
    step.body();
  } catch (const testing::AssertionException&) {  // a subtest in the step has ended it
    outcome.fatal = true;
  } catch (const Error& e) {
    outcome.error = e;
  } catch (...) {
    outcome.other = std::current_exception();
  }
  outcome.fatal = outcome.fatal || watch.has_new_fatal_failure();
}

Error as_error(const std::exception_ptr& other) {
  try {
    std::rethrow_exception(other);
  } catch (const std::exception& e) {
    return Error(Error::Kind::host, e.what());
  } catch (...) {
    return Error(Error::Kind::host, "an exception that is no std::exception");
  }
}

Error joined(const std::vector<Step>& steps, const std::vector<Outcome>& outcomes,
             std::size_t failed) {
  std::optional<Error> all;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (!outcomes[i].error) continue;
    const Error& error = *outcomes[i].error;
    if (!all) {
      all.emplace(error.kind(), std::to_string(failed) + " of " + std::to_string(steps.size()) +
                                    " failed while waiting for all:");
      all->at(error.where());
    }
    all->attach("'" + steps[i].name + "'", error.what());
  }
  return *all;
}

}  // namespace

void wait_all(std::vector<Step> steps, std::source_location here) {
  auto traces = current_traces();
  bool skipped_before = testing::Test::IsSkipped();
  std::vector<Outcome> outcomes(steps.size());
  {
    std::vector<std::jthread> threads;  // joined here also when starting a later one throws
    for (std::size_t i = 0; i < steps.size(); ++i)
      threads.emplace_back([&, i] { run_step(steps[i], traces, here, outcomes[i]); });
  }
  std::size_t failed = 0;
  bool ends = testing::Test::IsSkipped() && !skipped_before;
  std::exception_ptr foreign;
  for (auto& outcome : outcomes) {
    failed += outcome.error || outcome.other;
    if (outcome.other) foreign = outcome.other;
    ends = ends || outcome.fatal;
  }
  if (foreign && failed == 1) std::rethrow_exception(foreign);
  for (auto& outcome : outcomes)
    if (outcome.other) outcome.error = as_error(outcome.other);
  if (failed) throw joined(steps, outcomes, failed).at(here);
  if (ends) entry::end_test();
}

void wait_all(std::vector<Machine*> machines, const std::function<void(Machine&)>& body,
              std::source_location here) {
  std::vector<Step> steps;
  for (auto* machine : machines)
    steps.push_back({machine->name(), [machine, &body] { body(*machine); }});
  wait_all(std::move(steps), here);
}

}  // namespace attest
