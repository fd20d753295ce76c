// The agent's program, carried inside of the library: what a guest is given that has none.
#pragma once
#include <string_view>

namespace attest::guest {

/// The whole static executable (guest/agent), for the machine that this library was built for.
/// Lives as long as the program.
std::string_view agent_binary();

}  // namespace attest::guest
