// Shell texts on their way to a shell: quoted, strict, hidden behind no names of ours. Pure.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace attest::agent {

/// Single-quoted for any shell.
std::string shell_quoted(std::string_view text);
/// True for a text that would notice that it runs in a fork of another shell.
bool needs_own_shell(std::string_view text);
/// The text with what strictness puts before it.
std::string strict_text(std::string_view text, bool strict, bool bash);

/// The resident bash's program; _at_P is the agent's pid. It writes its path and its exported
/// variables, each ended by a NUL, one more NUL, and forks executors then: for each four numbers of
/// a line (the agent's descriptors for control, stdout, stderr, script) one, which writes its pid
/// and a line end to its stdout, waits for one byte of control, and becomes what the script says.
/// When all of a line are orphans, so that nobody but the agent reaps them, it writes a line end.
std::string_view resident_program();
/// The same words from any sh, without executors.
std::string_view plain_environment_program();
/// True for a variable that a shell can be told to export.
bool shell_name(std::string_view name);
/// An executor's script: runs `text` with these variables (NAME=value), and with what control still
/// holds as its stdin if so wanted.
std::string executor_script(std::string_view text, const std::vector<std::string>& env,
                            bool with_input, bool change_directory);
/// A script for descriptor 3 of a shell that runs own_shell_program(): for texts that are too long
/// for an argument.
std::string own_shell_script(std::string_view text);
std::string_view own_shell_program();

}  // namespace attest::agent
