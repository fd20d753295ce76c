// attest for GoogleTest: the fixture, subtests, and a main(). Link attest_gtest; it brings a
// main() unless you write one that calls attest::main().
#pragma once
#include "attest/artifacts.h"
#include "attest/assert.h"
#include "attest/config.h"
#include "attest/driver.h"
#include "attest/error.h"
#include "attest/machine.h"
#include "attest/matchers.h"
#include "attest/network.h"
#include "attest/polling.h"
#include "attest/retry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <initializer_list>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace attest {
namespace detail {

/// The part of the fixtures that is no template: finds the suite's driver, reports Errors at
/// their place in the test.
class Fixture {
 public:
  Fixture();
  ~Fixture();
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;

  /// Finds or makes the driver of the running suite (and `variant` of it). Returns why this host
  /// cannot run it, or ""; a lack that ATTEST_REQUIRE names is an Error instead.
  std::string set_up(const std::function<Config()>& config, const std::string& variant);
  Driver& driver();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Config as flags and environment say; empty without any.
Config standard_config();
/// `config` with every machine on `backend`.
Config on_backend(Config config, const std::string& backend);

}  // namespace detail

/// A fixture that owns a Driver. One driver serves a whole test suite: it is made in the
/// suite's first SetUp() and ended after its last test; later tests find the machines as the
/// last one left them. What this host cannot run is skipped in SetUp().
template <class Base>
class FixtureOn : public Base {
 public:
  using Here = std::source_location;

  /// The machines of this suite. Default: what --attest_config, ATTEST_CONFIG or CMake name.
  /// --attest_backend and --attest_set are applied on top of what this returns.
  virtual Config config() const { return detail::standard_config(); }

 protected:
  /// Overriders call this first.
  void SetUp() override {
    std::string variant;
    if constexpr (has_param<Base>::value) variant = this->GetParam();
    auto reason = fixture_.set_up(
        [this, &variant] { return detail::on_backend(config(), variant); }, variant);
    if (!reason.empty()) GTEST_SKIP() << reason;
  }

  Driver& driver() { return fixture_.driver(); }
  /// The machine of that name; a typo is an error with the known names.
  Machine& machine(std::string_view name, Here here = Here::current()) {
    return driver().machine(name, here);
  }
  /// Boots every machine that is off, in parallel.
  void start_all(Here here = Here::current()) { driver().start_all(here); }
  /// Waits until every machine that runs has gone down by itself.
  void join_all(WaitOptions options = {}, Here here = Here::current()) {
    driver().join_all(options, here);
  }
  /// Adds a machine while the test runs; see Driver.
  Machine& create_machine(std::string name, MachineConfig config, Here here = Here::current()) {
    return driver().create_machine(std::move(name), std::move(config), here);
  }
  /// The networks of the machines: links, faults, captures.
  Network network() { return driver().network(); }
  /// Looks at `condition` at each operation on a machine until the result is destroyed.
  HeldCondition hold(const PollingCondition& condition) { return driver().hold(condition); }
  /// Whether lines of the machines' consoles are shown as they come. Default: on.
  void serial_stdout_on() { driver().serial_stdout_on(); }
  void serial_stdout_off() { driver().serial_stdout_off(); }

 private:
  template <class T, class = void>
  struct has_param : std::false_type {};
  template <class T>
  struct has_param<T, std::void_t<typename T::ParamType>> : std::true_type {};

  detail::Fixture fixture_;
};

/// The fixture for TEST_F.
class Test : public FixtureOn<::testing::Test> {};

/// The fixture for TEST_P over backends: every machine of the config is booted by the parameter.
///     class Web : public attest::TestOn {};
///     INSTANTIATE_TEST_SUITE_P(, Web, attest::backends("qemu", "nspawn"), attest::BackendName());
/// The list is fixed text, the same on every host; what cannot run here skips in SetUp().
class TestOn : public FixtureOn<::testing::TestWithParam<std::string>> {};

/// Backend names as parameters of TestOn.
template <class... Names>
auto backends(Names... names) {
  return ::testing::Values(std::string(names)...);
}

/// Names the instances of TestOn by their backend: Web.ServesItsFrontPage/qemu.
struct BackendName {
  std::string operator()(const ::testing::TestParamInfo<std::string>& info) const {
    return info.param;
  }
};

/// Runs `body` as a named step: it is announced, timed, and named in failures from inside it.
/// A fatal failure or a skip in it ends the TEST; EXPECT failures go on. Steps may nest. gtest's
/// report has each as the property "subtest OUTER / INNER", the program's last lines have a sum.
void subtest(std::string_view name, const std::function<void()>& body);

/// One body of wait_all(), with the name that its failure carries.
struct Step {
  std::string name;
  std::function<void()> body;
};

/// Runs all `steps` at the same time, each on a thread of its own, and joins them all, whatever
/// happens. Their Errors become one, each under its name; a fatal failure or a skip in one
/// ends the TEST after the join. SCOPED_TRACEs of the caller appear in failures of the steps.
void wait_all(std::vector<Step> steps, std::source_location here = std::source_location::current());

/// The same body for several machines at once: wait_all({&web, &db}, [](attest::Machine& m) { ...
/// });
void wait_all(std::vector<Machine*> machines, const std::function<void(Machine&)>& body,
              std::source_location here = std::source_location::current());

/// Runs the tests of this program: reads attest's and gtest's flags, enters the sandbox unless
/// nothing would run, and returns the exit code: 0 passed, 1 failed, 2 bad flags or config, 64
/// no test selected, 69 the environment broke, 77 every selected test was skipped. Call it
/// first thing in main, before any thread exists.
int main(int argc, char** argv);

}  // namespace attest
