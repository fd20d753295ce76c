// What messages call commands and conditions, and the checks of names that both kinds of guest make
// before they ask anything of the machine. One place, so that a test reads the same words whatever
// carries them.
#pragma once
#include "attest/error.h"
#include "lib/guest/guest.h"

#include <string>

namespace attest::guest {

/// The most that read_file() gives.
inline constexpr std::size_t read_limit = 64u << 20;

/// Which command a message is about, in one quoted line.
std::string words(const Command& command);
/// What `condition` is about: "port 80 of localhost to be open".
std::string goal(const Condition& condition);
/// Throws Error{usage} for an argument vector or a variable's name that is none, and for both a
/// shell text and an argument vector.
void check(const Command& command);
/// Throws Error{usage} for a port, an address, a unit's or user's name or a path that is none.
void check(const Condition& condition);
/// Throws Error{usage} unless `path` is absolute and holds no NUL.
void check_path(const std::string& path);

/// The failure of a command that was ended at its deadline, `span` after its start.
Error command_late(const Command& command, const std::string& span, const std::string& output,
                   const std::string& error_output);
/// The failure of a command that printed more than proto::shell_output_limit.
Error command_too_loud(const Command& command);

}  // namespace attest::guest
