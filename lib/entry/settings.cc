#include "lib/entry/settings.h"

#include "attest/error.h"
#include "lib/base/text.h"
#include "lib/core/timeout_factor.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>

// Defined by the translation unit that attest_add_test() of our CMake package generates.
extern "C" [[gnu::weak]] const char* const attest_baked_config;

namespace attest::entry {
namespace {

using Assign = std::function<void(Settings&, const std::string& value, const std::string& source)>;

struct Setting {
  const char* variable;  // null: no environment variable
  bool takes_value;
  Assign assign;
};

Error bad_value(const std::string& source, const std::string& expected, const std::string& value) {
  return Error(Error::Kind::usage, source + ": expected " + expected + ", got '" + value + "'");
}

void assign_sandbox(Settings& s, const std::string& value, const std::string& source) {
  if (value == "auto")
    s.sandbox = SandboxMode::automatic;
  else if (value == "require")
    s.sandbox = SandboxMode::require;
  else if (value == "off")
    s.sandbox = SandboxMode::off;
  else
    throw bad_value(source, "auto, require or off", value);
}

void assign_factor(Settings& s, const std::string& value, const std::string& source) {
  char* end = nullptr;
  double factor = std::strtod(value.c_str(), &end);
  if (value.empty() || *end || !(factor >= 0.01 && factor <= 1000))
    throw bad_value(source, "a number between 0.01 and 1000", value);
  s.timeout_factor = factor;
}

void assign_require(Settings& s, const std::string& value, const std::string&) {
  for (auto& part : base::split(value, ','))
    if (auto word = base::trim(part); !word.empty()) s.require.emplace_back(word);
}

// One row a setting: it drives parsing, the list of near flags, and the variables.
const std::map<std::string, Setting>& table() {
  static const std::map<std::string, Setting> rows = {
      {"config", {"ATTEST_CONFIG", true, [](auto& s, auto& value, auto&) { s.config = value; }}},
      {"backend", {"ATTEST_BACKEND", true, [](auto& s, auto& value, auto&) { s.backend = value; }}},
      {"set", {nullptr, true, [](auto& s, auto& value, auto&) { s.sets.push_back(value); }}},
      {"sandbox", {"ATTEST_SANDBOX", true, assign_sandbox}},
      {"timeout_factor", {"ATTEST_TIMEOUT_FACTOR", true, assign_factor}},
      {"output", {"ATTEST_OUTPUT", true, [](auto& s, auto& value, auto&) { s.output = value; }}},
      {"artifacts",
       {"ATTEST_ARTIFACTS", true, [](auto& s, auto& value, auto&) { s.artifacts = value; }}},
      {"allow_none", {nullptr, false, [](auto& s, auto&, auto&) { s.allow_none = true; }}},
      {"require", {"ATTEST_REQUIRE", true, assign_require}},
  };
  return rows;
}

Error unknown_flag(const std::string& flag) {
  std::vector<std::string> known;
  for (auto& [name, row] : table()) known.push_back("--attest_" + name);
  Error error(Error::Kind::usage,
              "unknown flag '" + flag + "'; attest's flags are " + base::join(known, ", "));
  if (auto advice = base::did_you_mean(flag, known); !advice.empty()) error.hint(advice);
  return error;
}

std::optional<Settings> chosen_settings;

}  // namespace

bool Settings::requires_capability(std::string_view capability) const {
  return std::any_of(require.begin(), require.end(),
                     [&](const std::string& word) { return word == "all" || word == capability; });
}

Settings read_settings(std::vector<std::string>& arguments, const char* (*variable)(const char*)) {
  Settings result;
  if (&attest_baked_config) result.config = attest_baked_config;
  if (const char* dir = variable("TEST_UNDECLARED_OUTPUTS_DIR"); dir && *dir)
    result.artifacts = dir;
  for (auto& [name, row] : table()) {
    const char* value = row.variable ? variable(row.variable) : nullptr;
    if (value && *value) row.assign(result, value, row.variable);
  }
  std::vector<std::string> others;
  for (auto& argument : arguments) {
    constexpr std::string_view prefix = "--attest_";
    if (!argument.starts_with(prefix)) {
      others.push_back(argument);
      continue;
    }
    auto equals = argument.find('=');
    auto flag = argument.substr(0, equals);
    auto row = table().find(flag.substr(prefix.size()));
    if (row == table().end()) throw unknown_flag(flag);
    bool has_value = equals != std::string::npos;
    if (has_value != row->second.takes_value)
      throw Error(Error::Kind::usage,
                  "the flag '" + flag + "' " +
                      (has_value ? "takes no value" : "needs a value: " + flag + "=..."));
    row->second.assign(result, has_value ? argument.substr(equals + 1) : "", flag);
  }
  arguments = std::move(others);
  return result;
}

const Settings& settings() {
  if (!chosen_settings) {
    std::vector<std::string> none;
    use_settings(
        read_settings(none, [](const char* name) -> const char* { return std::getenv(name); }));
  }
  return *chosen_settings;
}

void use_settings(Settings chosen) {
  core::set_timeout_factor(chosen.timeout_factor);
  chosen_settings = std::move(chosen);
}

Config configured(const Settings& chosen) {
  return chosen.config.empty() ? Config{} : Config::from_file(chosen.config);
}

Config overridden(Config config, const Settings& chosen) {
  if (!chosen.backend.empty())
    for (auto& [name, machine] : config.machines) machine.backend = chosen.backend;
  for (auto& assignment : chosen.sets) {
    try {
      config.set(assignment);
    } catch (Error& e) {
      e.during("applying --attest_set=" + assignment);
      throw;
    }
  }
  return config;
}

std::string_view flags_help() {
  return R"(attest's own flags:
  --attest_config=FILE           machines, as JSON (also ATTEST_CONFIG)
  --attest_backend=NAME          boot every machine with this backend (ATTEST_BACKEND)
  --attest_set=PATH=VALUE        change one key: machines.web.memory_mb=512
  --attest_sandbox=auto|require|off   namespaces around the tests (ATTEST_SANDBOX)
  --attest_timeout_factor=N      multiply every timeout (ATTEST_TIMEOUT_FACTOR)
  --attest_output=DIR            keep console logs there (ATTEST_OUTPUT)
  --attest_artifacts=DIR         what tests leave behind; default ./attest-results (ATTEST_ARTIFACTS)
  --attest_require=WORDS         kvm,tun,...|all: a missing one fails instead of skipping (ATTEST_REQUIRE)
  --attest_allow_none            no selected test is a success
)";
}

}  // namespace attest::entry
