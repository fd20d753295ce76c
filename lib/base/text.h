// Small pure functions over text, used in messages and in protocols.
#pragma once
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace attest::base {

/// Splits at every `sep`; "a,,b" gives three parts, "" gives one empty part.
std::vector<std::string> split(std::string_view text, char sep);
/// Joins with `sep` between the parts.
std::string join(const std::vector<std::string>& parts, std::string_view sep);
/// Without leading and trailing blanks and line ends.
std::string_view trim(std::string_view text);
/// Single-quoted for a POSIX shell: any bytes but NUL survive.
std::string shell_quote(std::string_view text);
/// Words quoted only where a shell would need it, for people to paste.
std::string shell_join(const std::vector<std::string>& words);
/// A multi-line string literal with its common indentation and its first and last blank
/// line removed, so that a raw string in a test can be indented with the code.
std::string dedent(std::string_view text);
/// The last `n` lines of `text`.
std::string last_lines(std::string_view text, std::size_t n);
/// Control and escape sequences removed or made visible, invalid UTF-8 replaced: safe for a
/// terminal.
std::string printable(std::string_view text);
/// The candidate that `word` was probably meant to be: near by spelling, or else one that contains
/// it; "" if there is none.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);
/// "did you mean 'server'?", or "" without a nearest(): for messages and hints.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);
/// "1.2 s", "350 ms", "2 min 5 s": for messages.
std::string human(std::chrono::nanoseconds span);
/// A random token of `bytes` bytes in lower-case hex (getrandom).
std::string random_hex(std::size_t bytes);

}  // namespace attest::base
