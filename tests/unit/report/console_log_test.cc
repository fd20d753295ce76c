#include "lib/report/console_log.h"

#include "lib/base/fatal_line.h"
#include "lib/base/file.h"

#include <gmock/gmock.h>

#include <chrono>
#include <filesystem>

namespace attest::report {
namespace {
using testing::ElementsAre;
using testing::HasSubstr;

struct Recorded {
  std::vector<std::string> lines, fatal;
  ConsoleLog log{[this](std::string_view line) { lines.emplace_back(line); },
                 [this](std::string_view cause) { fatal.emplace_back(cause); }};
};

TEST(ConsoleLog, MakesLinesOfPieces) {
  Recorded r;
  for (char c : std::string("one\r\ntwo\nthr")) r.log.feed(std::string_view(&c, 1));
  EXPECT_THAT(r.lines, ElementsAre("one", "two"));
  r.log.finish();
  EXPECT_THAT(r.lines, ElementsAre("one", "two", "thr"));
}

TEST(ConsoleLog, CutsALineThatNeverEnds) {
  Recorded r;
  r.log.feed(std::string(10'000, 'x'));
  EXPECT_EQ(r.lines.size(), 2u);
}

TEST(ConsoleLog, ForgetsTheOldestBeyondItsLimit) {
  Recorded r;
  std::string flood(100, 'x');
  flood += '\n';
  for (int i = 0; i < 50'000; ++i) r.log.feed(flood);
  r.log.feed("the last\n");
  EXPECT_LE(r.log.text().size(), 1u << 20);
  EXPECT_EQ(r.log.tail(1), "the last\n");
}

TEST(ConsoleLog, KeepsTheTerminalSafe) {
  Recorded r;
  r.log.feed("\033[2Jclean\a\xFF\n");
  EXPECT_THAT(r.lines, ElementsAre("clean^G\xEF\xBF\xBD"));
}

TEST(ConsoleLog, WritesTheBytesAsTheyCameToAFile) {
  base::TempDir dir;
  std::string path = (dir.path() / "console.log").string();
  Recorded r;
  r.log.write_to(path);
  r.log.feed("a\033[1m\r\nb");
  EXPECT_EQ(base::read_file(path), "a\033[1m\r\nb");
}

TEST(ConsoleLog, SaysThatTheMachineIsLost) {
  Recorded r;
  r.log.feed("[    1.2] Kernel panic - not syncing: VFS: no root\n");
  EXPECT_THAT(r.fatal, ElementsAre(HasSubstr("Kernel panic - not syncing: VFS: no root'")));
}

TEST(ConsoleLog, TellsWhatCameAfterTheLastLineEnd) {
  Recorded r;
  r.log.feed("booted\nlogin: ");
  EXPECT_EQ(r.log.unfinished(), "login: ");
  EXPECT_EQ(r.log.text(), "booted\n");
}

TEST(ConsoleLog, SaysOnceThatItsFileCannotBeWritten) {
  Recorded r;
  r.log.write_to("/dev/full");
  r.log.feed("a\nb\n");
  r.log.feed("c\n");
  EXPECT_THAT(r.lines, ElementsAre(HasSubstr("'/dev/full' ends here"), "a", "b", "c"));
}

// bench/flood does it with a whole machine.
struct Flood {
  const char* name;
  std::string piece;
};
void PrintTo(const Flood& flood, std::ostream* out) { *out << flood.name; }
class ConsoleFlood : public testing::TestWithParam<Flood> {};
TEST_P(ConsoleFlood, IsTakenFastInBoundedMemoryAndKeptWhole) {
  base::TempDir dir;
  auto path = dir.path() / "console.log";
  std::size_t lines = 0;
  ConsoleLog log([&](auto) { ++lines; }, [](auto) {});
  log.write_to(path.string());
  std::string piece;
  while (piece.size() < 64 * 1024) piece += GetParam().piece;
  constexpr std::size_t total = 8 << 20;
  auto started = std::chrono::steady_clock::now();
  std::size_t fed = 0;
  while (fed < total) {
    log.feed(piece);
    fed += piece.size();
  }
  log.finish();
  auto took = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  RecordProperty("mb_per_s", std::to_string(static_cast<double>(fed) / 1e6 / took));
  EXPECT_LE(log.text().size(), 3u << 20);  // U+FFFD for a byte is three
  EXPECT_GE(lines, fed / 4096);
  EXPECT_EQ(std::filesystem::file_size(path), fed);
}
INSTANTIATE_TEST_SUITE_P(
    , ConsoleFlood,
    testing::Values(Flood{"no_line_end", "x"}, Flood{"short_lines", "[  OK  ] Started a unit.\n"},
                    Flood{"empty_lines", "\n"}, Flood{"invalid_utf8", "\xFF\xFE"},
                    Flood{"ansi_bomb", "\033]0;\033[999C\033["}, Flood{"only_cr", "progress\r"}),
    [](const auto& row) { return row.param.name; });

struct FatalCase {
  const char* name;
  const char* line;
  bool fatal;
};
class FatalLine : public testing::TestWithParam<FatalCase> {};
TEST_P(FatalLine, IsRecognised) {
  EXPECT_EQ(base::fatal_line(GetParam().line).has_value(), GetParam().fatal);
}
INSTANTIATE_TEST_SUITE_P(
    , FatalLine,
    testing::Values(
        FatalCase{"panic", "[ 1.0] Kernel panic - not syncing: Attempted to kill init!", true},
        FatalCase{"emergency", "You are in emergency mode. After logging in, type ...", true},
        FatalCase{"rescue", "You are in rescue mode. After logging in", true},
        FatalCase{"initrd", "attest-initrd: FATAL: no root drive", true},
        FatalCase{"ordinary", "[  OK  ] Reached target basic.target", false},
        FatalCase{"panic_option", "Kernel command line: panic=-1", false},
        FatalCase{"empty", "", false}),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace attest::report
