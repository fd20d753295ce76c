// Runs a program as a person would, for tests of whole programs: its output and how it ended.
#pragma once
#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace attest::fakes {

struct ProgramRun {
  int exit_code = -1;  ///< -1 if a signal ended it
  int signal = 0;
  bool timed_out = false;
  std::string output;  ///< stdout and stderr, mixed as they came
  std::chrono::milliseconds took{0};
};

/// Runs argv to its end, at most `limit`, then kills its process group. `env` is on top of ours.
ProgramRun run_program(std::vector<std::string> argv, std::map<std::string, std::string> env = {},
                       std::chrono::seconds limit = std::chrono::seconds(60));

}  // namespace attest::fakes
