// Checks of texts that end a test where they fail, and small helpers for texts. In gtest programs
// EXPECT_THAT with HasSubstr goes on after a failure instead.
#pragma once
#include <source_location>
#include <string>
#include <string_view>

namespace attest {

/// Throws Error{guest} at this place in the test, quoting both, unless `part` is in `text`.
///     attest::assert_contains(web.succeed("curl -s localhost"), "Welcome");
void assert_contains(std::string_view text, std::string_view part,
                     std::source_location here = std::source_location::current());
/// Throws Error{guest} unless a part of `text` matches `regex` (RE2's syntax; ^ and $ also match at
/// line ends); Error{usage} if that is none.
void assert_matches(std::string_view text, std::string_view regex,
                    std::source_location here = std::source_location::current());
/// Without leading and trailing blanks and line ends: trim(web.succeed("hostname")) == "web".
std::string trim(std::string_view text);
/// Without the indentation that all lines share, and without a first and last blank line.
std::string dedent(std::string_view text);

}  // namespace attest
