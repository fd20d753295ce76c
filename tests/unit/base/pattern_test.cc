#include "lib/base/pattern.h"

#include "attest/error.h"

#include <gmock/gmock.h>

#include <chrono>

namespace attest::base {
namespace {

struct Case {
  const char* name;
  const char* regex;
  const char* text;
  bool found;
};
class PatternCase : public testing::TestWithParam<Case> {};
TEST_P(PatternCase, IsFoundOrNot) {
  EXPECT_EQ(Pattern(GetParam().regex).found_in(GetParam().text), GetParam().found);
}
INSTANTIATE_TEST_SUITE_P(
    , PatternCase,
    testing::Values(
        Case{"inside", "b+", "aabbaa", true}, Case{"not", "c", "aabbaa", false},
        Case{"line_start", "^second", "first\nsecond", true},
        Case{"line_start_only", "^econd", "first\nsecond", false},
        Case{"line_end", "first$", "first\nsecond", true},
        Case{"classes", "\\d+ (ms|s)", "took 12 ms", true},
        Case{"bracket", "[a-c]x[^0-9]", "bx7 cxy", true},
        Case{"bracket_ends", "[]-]+$", "x]-", true},
        Case{"bracket_escape", "[\\d.]+s", "1.5s", true}, Case{"counts", "^a{2,3}$", "aaa", true},
        Case{"too_many", "^a{2,3}$", "aaaa", false}, Case{"at_least", "^a{2,}$", "aaaa", true},
        Case{"exactly", "^(ab){2}$", "abab", true}, Case{"brace_is_text", "a{x}", "a{x}", true},
        Case{"lazy", "<.+?>", "<b>", true}, Case{"optional", "^colou?r$", "color", true},
        Case{"group", "^(?:ab|cd)+$", "abcdab", true}, Case{"empty_branch", "^(a|)b$", "b", true},
        Case{"empty_loop", "^(a*)*$", "aaa", true}, Case{"word", "\\bup\\b", "is up now", true},
        Case{"no_word", "\\bup\\b", "upper", false},
        Case{"any_case", "(?i)LOGIN:", "web login: ", true}, Case{"hex", "\\x41", "A", true},
        Case{"escaped", "\\(\\$\\.\\)", "($.)", true}, Case{"dot_stops", "a.b", "a\nb", false},
        Case{"utf8", "^.+é$", "café", true}, Case{"utf8_class", "caf[éè]$", "café", true},
        Case{"empty", "", "", true}),
    [](const auto& row) { return row.param.name; });

TEST(Pattern, OneThatIsNoneIsAUsageError) {
  for (auto* regex : {"(", ")", "a{2,1}", "(a)\\1", "*a", "[a", "[z-a]", "a(?=b)", "\\", "\\q",
                      "\\xZZ", "(a{1000}){1000}", "a{99999}"}) {
    try {
      Pattern pattern(regex);
      ADD_FAILURE() << regex;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), Error::Kind::usage);
      EXPECT_THAT(e.what(), testing::HasSubstr(regex));
    }
  }
  EXPECT_THROW(Pattern(std::string(100'000, '(')), Error);
}

TEST(Pattern, CatastrophicOnesTakeNoTimeAndNoStack) {
  auto started = std::chrono::steady_clock::now();
  std::string text(100'000, 'a');
  EXPECT_FALSE(Pattern("(a+)+$b").found_in(text));
  EXPECT_FALSE(Pattern("(a|aa)+x").found_in(text));
  EXPECT_FALSE(Pattern("(.*)*x").found_in(text));
  EXPECT_FALSE(Pattern("((((a*)*)*)*)*x").found_in(text));
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(10));
}

}  // namespace
}  // namespace attest::base
