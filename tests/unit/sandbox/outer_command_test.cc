// Commands outside the sandbox: their ends, through each door and without one.
#include "lib/sandbox/outer_command.h"

#include "attest/error.h"
#include "lib/base/file.h"
#include "lib/sandbox/doorman.h"
#include "tests/unit/sandbox/places.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>

namespace attest::sandbox {
namespace {

using base::Fd;
using namespace std::chrono_literals;

std::string rest_of(const Fd& socket) {
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::read(socket.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(n));
  return text;
}

std::string line_of(const Fd& socket) {
  std::string line;
  for (char c; ::read(socket.get(), &c, 1) == 1 && c != '\n';) line.push_back(c);
  return line;
}

// A zombie has no command line; it is init's to reap.
bool runs(pid_t pid) {
  return !base::try_read_file("/proc/" + std::to_string(pid) + "/cmdline").value_or("").empty();
}

TEST(OuterCommand, EchoesThroughCat) {
  Fd socket = Doorman().run("cat");
  ASSERT_EQ(::write(socket.get(), "hello\n", 6), 6);
  EXPECT_EQ(line_of(socket), "hello");
}

TEST(OuterCommand, AnEndedInputIsNoEndOfTheCommand) {
  Fd socket = Doorman().run("cat; echo done");
  ASSERT_EQ(::write(socket.get(), "hello\n", 6), 6);
  ::shutdown(socket.get(), SHUT_WR);
  EXPECT_EQ(rest_of(socket), "hello\ndone\n");
}

TEST(OuterCommand, ItsEndEndsTheStream) {
  EXPECT_EQ(rest_of(Doorman().run("echo one; exit 3")), "one\n");
  EXPECT_EQ(rest_of(Doorman().run("kill -9 $$")), "");
}

TEST(OuterCommand, LeavesNothingInItsGroup) {
  auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(rest_of(Doorman().run("sleep 100 & echo one")), "one\n");
  EXPECT_LT(std::chrono::steady_clock::now() - start, 50s);
}

TEST(OuterCommand, EndsByTheEndOfItsInput) {
  base::TempDir dir;
  std::string file = dir.path() / "ended";
  Fd socket = Doorman().run("echo $$; cat; echo done >" + file);
  pid_t pid = std::stoi(line_of(socket));
  socket.reset();
  EXPECT_TRUE(eventually([&] { return !runs(pid); }));
  EXPECT_EQ(base::read_file(file), "done\n");
}

TEST(OuterCommand, IsEndedIfItIgnoresTheEndOfItsInput) {
  for (const char* command :
       {"echo $$; sleep 1000; true", "trap '' TERM; echo $$; while :; do sleep 0.01; done"}) {
    Fd socket = Doorman().run(command);
    pid_t pid = std::stoi(line_of(socket));
    auto start = std::chrono::steady_clock::now();
    socket.reset();
    EXPECT_TRUE(eventually([&] { return !runs(pid); })) << command;
    EXPECT_GT(std::chrono::steady_clock::now() - start, 900ms) << command;
  }
}

TEST(OuterCommand, HasTheSignalsOfAFreshProcess) {
  ::signal(SIGPIPE, SIG_IGN);
  Fd socket = Doorman().run("grep -E '^Sig(Ign|Blk)' /proc/self/status");
  ::signal(SIGPIPE, SIG_DFL);
  EXPECT_EQ(rest_of(socket), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST(OuterCommand, IsNobodysChildHere) {
  Fd socket = Doorman().run("echo $$");
  rest_of(socket);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(OuterCommand, HoldsNoDescriptorsOfOurs) {
  auto [out, in] = base::make_pipe();
  Fd inherited(::dup(in.get()));  // not close-on-exec
  Fd socket = Doorman().run("ls /proc/self/fd | wc -l");
  EXPECT_EQ(line_of(socket), "4");  // and the directory itself
}

TEST(OuterCommand, MayBeFourKibibytesLong) {
  std::string text(4096 - 5, 'x');
  EXPECT_EQ(rest_of(Doorman().run("echo " + text)), text + "\n");
  try {
    Doorman().run("echo " + text + "x");
    FAIL() << "it ran";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Error::Kind::usage);
    EXPECT_STREQ(e.what(), "a command has at most 4096 bytes here, not 4097");
  }
  EXPECT_THROW(Doorman().run(std::string("a\0b", 3)), Error);
}

class OuterCommandFrom : public ::testing::TestWithParam<Place> {};

TEST_P(OuterCommandFrom, EndsWithTheTests) {
  base::TempDir dir;
  std::filesystem::permissions(dir.path(), std::filesystem::perms(0777));
  Probe probe({GetParam().mode, "run", "echo $$; sleep 1000; true"},
              {.before_exec = GetParam().before_exec});
  std::string line = probe.line();
  ASSERT_FALSE(line.empty());
  pid_t pid = std::stoi(line);
  ASSERT_TRUE(runs(pid));
  ::kill(probe.pid(), SIGKILL);
  EXPECT_EQ(probe.wait(), SIGKILL);
  EXPECT_TRUE(eventually([&] { return marked_processes(probe.mark()).empty(); }));
}

TEST_P(OuterCommandFrom, EndsWithTheDoorman) {
  if (GetParam().mode == "off") GTEST_SKIP() << "the tests are the doorman";
  Probe probe({GetParam().mode, "run", "echo $$; sleep 1000; true"},
              {.before_exec = GetParam().before_exec});
  pid_t pid = std::stoi(probe.line());
  int killed = 0;
  for (pid_t other : marked_processes(probe.mark()))
    if (base::try_read_file("/proc/" + std::to_string(other) + "/comm") == "attest-doorman\n" &&
        ++killed)
      ::kill(other, SIGKILL);
  EXPECT_GT(killed, 0);
  EXPECT_TRUE(eventually([&] { return !runs(pid); }));
}

INSTANTIATE_TEST_SUITE_P(, OuterCommandFrom, ::testing::ValuesIn(every_place()),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace attest::sandbox
