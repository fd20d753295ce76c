// When something passed between a stand-in and its host, for benchmarks that ask whose turn it was.
#pragma once
#include <string_view>

namespace attest::sims {

enum class Passing {
  in,  ///< from the host
  out  ///< to the host
};

/// Appends a line to the file that $ATTEST_SIM_TRACE names, "<ns> in PUT /actions" by the clock
/// CLOCK_MONOTONIC; does nothing without the variable.
void trace(Passing direction, std::string_view what);

}  // namespace attest::sims
