// A driver on fake backends, and what tests of it ask again and again.
#pragma once
#include "attest/backend.h"
#include "attest/driver.h"
#include "lib/base/file.h"
#include "tests/fakes/error_of.h"
#include "tests/fakes/fake_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace attest::core {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Bed : public testing::Test {
 protected:
  /// Makes the driver. Limits that a test expects to pass are the test's own; all others are far.
  void make(std::vector<std::string> names, Timeouts timeouts = {}, double factor = 1) {
    config.timeouts = timeouts;
    for (auto& name : names) config.machines[name].backend = "fake";
    driver = std::make_unique<Driver>(config, setup(factor));
  }
  DriverSetup setup(double factor = 1) {
    DriverSetup made;
    made.backends = fakes.backends();
    made.work_dir = dir.path();
    made.timeout_factor = factor;
    made.artifacts = [this] { return dir.path() / "artifacts"; };
    made.failed = [this] { return test_failed.load(); };
    made.outside = outside;
    made.say = [this](std::string_view who, std::string_view text) {
      std::lock_guard hold(mutex);
      lines.push_back(who.empty() ? std::string(text)
                                  : std::string(who) + ": " + std::string(text));
    };
    return made;
  }
  Machine& machine(std::string_view name) { return driver->machine(name); }

  /// Runs `call` in a thread of its own; the future's get() gives the text of its Error, or "".
  static std::future<std::string> aside(std::function<void()> call) {
    return std::async(std::launch::async, [call = std::move(call)]() -> std::string {
      try {
        call();
      } catch (const Error& e) {
        return e.what();
      }
      return {};
    });
  }

  /// Starts a command that would run for a minute, and returns once it runs.
  std::future<std::string> busy(Machine& one) {
    one.succeed("mkfifo /tmp/runs");  // hidden from the host where there are namespaces
    auto command = aside([&one] { one.succeed("echo >/tmp/runs; sleep 60"); });
    one.succeed("cat /tmp/runs; rm /tmp/runs");
    return command;
  }

  /// What was said to people so far and holds `text`.
  std::vector<std::string> said(std::string_view text) {
    std::lock_guard hold(mutex);
    std::vector<std::string> found;
    for (auto& line : lines)
      if (line.find(text) != line.npos) found.push_back(line);
    return found;
  }

  base::TempDir dir;
  std::atomic<bool> test_failed = false;
  std::shared_ptr<Outside> outside;  ///< null, unless a test puts one here
  std::mutex mutex;
  std::vector<std::string> lines;
  fakes::FakeBackends fakes;
  Config config;
  std::unique_ptr<Driver> driver;
};

}  // namespace attest::core
