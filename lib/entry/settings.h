// What the environment and the command line say about a run. Read once; only this folder
// knows flags and variables.
#pragma once
#include "attest/config.h"
#include "attest/sandbox.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace attest::entry {

/// The settings of this process. Flags win over environment variables.
struct Settings {
  std::string config;             ///< --attest_config, ATTEST_CONFIG, or the path baked in by CMake
  std::string backend;            ///< --attest_backend, ATTEST_BACKEND: for every machine
  std::vector<std::string> sets;  ///< --attest_set=path=value, in order
  SandboxMode sandbox = SandboxMode::automatic;  ///< --attest_sandbox, ATTEST_SANDBOX
  double timeout_factor = 1;                     ///< --attest_timeout_factor, ATTEST_TIMEOUT_FACTOR
  std::string output;  ///< --attest_output, ATTEST_OUTPUT: folder for console logs
  /// --attest_artifacts, ATTEST_ARTIFACTS, else TEST_UNDECLARED_OUTPUTS_DIR (Bazel's)
  std::string artifacts{"attest-results"};
  bool allow_none = false;           ///< --attest_allow_none: no selected test is no failure
  std::vector<std::string> require;  ///< ATTEST_REQUIRE: capabilities whose lack is a failure

  /// True if a missing `capability` must fail instead of skipping.
  bool requires_capability(std::string_view capability) const;
};

/// Reads the variables through `variable` (getenv's shape) and takes every --attest_... flag out
/// of `arguments`. Throws Error{usage} naming the flag or variable, what was expected and the
/// nearest flag.
Settings read_settings(std::vector<std::string>& arguments,
                       const char* (*variable)(const char* name));

/// The process's settings: those set by attest::main, else from the environment alone.
const Settings& settings();
void use_settings(Settings chosen);

/// The config that settings name: an empty one if none is named. Throws Error{usage, host}.
Config configured(const Settings& chosen);
/// `config` with --attest_backend and --attest_set on top. Throws Error{usage}.
Config overridden(Config config, const Settings& chosen);

/// The lines of --help about attest's own flags.
std::string_view flags_help();

}  // namespace attest::entry
