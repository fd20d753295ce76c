#include "lib/entry/standard.h"

#include "attest/artifacts.h"
#include "lib/base/file.h"
#include "lib/base/text.h"
#include "lib/entry/artifacts.h"
#include "lib/entry/builtin.h"
#include "lib/entry/outside.h"
#include "lib/entry/settings.h"
#include "lib/sandbox/doorman.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <set>

namespace attest {
namespace entry {
namespace {

// Without a sandbox the directory must go by itself, at exit.
const base::TempDir& own_work_dir() {
  static base::TempDir dir("attest-");
  return dir;
}

std::string_view level_name(SandboxLevel level) {
  switch (level) {
    case SandboxLevel::full:
      return "full";
    case SandboxLevel::no_pid_namespace:
      return "without pid namespace";
    case SandboxLevel::none:
      break;
  }
  return "none";
}

}  // namespace

void say(std::string_view who, std::string_view text) {
  std::string line =
      who.empty() ? fmt::format("attest: {}\n", text) : fmt::format("{:<8}| {}\n", who, text);
  // A terminal or a CI's pipe that is gone must not stop the test.
  [[maybe_unused]] auto ignored = ::write(STDERR_FILENO, line.data(), line.size());
}

DriverSetup standard_setup(const std::string& output) {
  static std::atomic<int> drivers = 0;
  auto sandbox = current_sandbox();
  std::filesystem::path root =
      sandbox ? std::filesystem::path(sandbox->work_dir) : own_work_dir().path();
  DriverSetup setup;
  setup.own_network = sandbox && sandbox->level != SandboxLevel::none;
  setup.own_mounts = setup.own_network;
  HostFacts host{setup.own_network, sandbox ? sandbox->id_range : ::geteuid() == 0,
                 sandbox ? sandbox->why_no_id_range : ""};
  setup.backends = builtin_backends(host);
  setup.outside = make_outside(
      sandbox ? std::shared_ptr<attest::sandbox::Doorman>(sandbox->keep, sandbox->doorman)
              : std::make_shared<attest::sandbox::Doorman>());
  setup.work_dir = root / std::to_string(++drivers);
  std::filesystem::create_directories(setup.work_dir);
  setup.say = say;
  setup.artifacts = artifact_dir;
  setup.failed = running_test_failed;
  setup.timeout_factor = settings().timeout_factor;
  if (!settings().output.empty()) setup.output = std::filesystem::path(settings().output) / output;
  return setup;
}

std::string header(const Config& config, const Backends& backends) {
  std::set<std::string> kinds;
  for (auto& [name, machine] : config.machines) {
    auto entry = backends.find(machine.backend);
    bool described = entry != backends.end() && entry->second.describe;
    kinds.insert(described ? entry->second.describe(machine) : machine.backend);
  }
  auto sandbox = current_sandbox();
  std::vector<std::string> listed(kinds.begin(), kinds.end());
  return fmt::format("backend {}, timeout factor {}, sandbox {}", base::join(listed, " + "),
                     settings().timeout_factor, sandbox ? level_name(sandbox->level) : "none");
}

}  // namespace entry

std::unique_ptr<Driver> make_driver(Config config) {
  return std::make_unique<Driver>(std::move(config), entry::standard_setup(""));
}

}  // namespace attest
