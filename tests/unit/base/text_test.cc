#include "lib/base/text.h"

#include <gtest/gtest.h>

namespace attest::base {
namespace {

TEST(Dedent, RemovesTheCommonIndentation) {
  EXPECT_EQ(dedent("\n    if true; then\n      echo a\n    fi\n  "), "if true; then\n  echo a\nfi");
}
TEST(Dedent, LeavesOneLineAlone) { EXPECT_EQ(dedent("  echo a  "), "  echo a  "); }
TEST(Dedent, DoesNotMixTabsAndBlanks) { EXPECT_EQ(dedent("\n\ta\n  b\n"), "\ta\n  b"); }
TEST(Dedent, BlankLinesDoNotCount) { EXPECT_EQ(dedent("\n  a\n\n  b\n"), "a\n\nb"); }

TEST(Nearest, FindsATypo) { EXPECT_EQ(nearest("srever", {"client", "server"}), "server"); }
TEST(Nearest, CountsSwappedNeighboursOnce) { EXPECT_EQ(nearest("abdc", {"abxy", "abcd"}), "abcd"); }
TEST(Nearest, FindsAPart) {
  EXPECT_EQ(nearest("script", {"start_script"}), "start_script");
  EXPECT_EQ(nearest("memory", {"vcpus", "memory_mb"}), "memory_mb");
  EXPECT_EQ(nearest("mb", {"memory_mb_long_name"}), "");
}
TEST(Nearest, TakesNoTimeForAHugeWord) {
  EXPECT_EQ(nearest(std::string(1 << 20, 'v'), {"vcpus"}), "");
}
TEST(DidYouMean, AsksOnlyWhereThereIsSomethingNear) {
  EXPECT_EQ(did_you_mean("srever", {"client", "server"}), "did you mean 'server'?");
  EXPECT_EQ(did_you_mean("x", {"client", "server"}), "");
}
TEST(Nearest, DoesNotGuessWildly) { EXPECT_EQ(nearest("x", {"client", "server"}), ""); }

TEST(Printable, RemovesColours) { EXPECT_EQ(printable("\033[31mred\033[0m"), "red"); }
TEST(Printable, RemovesTitleChanges) { EXPECT_EQ(printable("\033]0;evil\afine"), "fine"); }
TEST(Printable, KeepsUtf8) { EXPECT_EQ(printable("gr\xC3\xBC\xC3\x9F"), "gr\xC3\xBC\xC3\x9F"); }
TEST(Printable, ReplacesBrokenUtf8) { EXPECT_EQ(printable("a\xFFz"), "a\xEF\xBF\xBDz"); }
TEST(Printable, DropsC1Controls) { EXPECT_EQ(printable("a\xC2\x9Bz"), "az"); }
TEST(Printable, ShowsControls) { EXPECT_EQ(printable(std::string("a\x01\0z", 4)), "a^A^@z"); }

TEST(LastLines, TakesTheTail) { EXPECT_EQ(last_lines("a\nb\nc\n", 2), "b\nc"); }
TEST(LastLines, TakesAllOfAShortText) { EXPECT_EQ(last_lines("a\nb", 9), "a\nb"); }

TEST(ShellQuote, SurvivesQuotes) { EXPECT_EQ(shell_quote("it's"), "'it'\\''s'"); }
TEST(ShellJoin, QuotesOnlyWhereNeeded) { EXPECT_EQ(shell_join({"a", "b c", ""}), "a 'b c' ''"); }

TEST(Human, ChoosesTheUnit) {
  using namespace std::chrono_literals;
  EXPECT_EQ(human(350ms), "350 ms");
  EXPECT_EQ(human(1250ms), "1.25 s");
  EXPECT_EQ(human(125s), "2 min 5 s");
  EXPECT_EQ(human(15min), "15 min");
}

}  // namespace
}  // namespace attest::base
