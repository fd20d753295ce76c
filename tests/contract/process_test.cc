// What spawn() promises.
#include "contract.h"

namespace attest {
namespace {
using testing::HasSubstr;

class Spawning : public Contract {};
INSTANTIATE_TEST_SUITE_P(, Spawning, ATTEST_CONTRACT_BACKENDS);

TEST_P(Spawning, ItsLinesComeWhileItRunsAndItReadsWhatIsWritten) {
  auto process = alpha().spawn({.shell = "echo one; echo two >&2; read -r x; echo got $x"});
  EXPECT_EQ(process.read_line(), "one");
  EXPECT_TRUE(process.running());
  process.write("something\n");
  EXPECT_EQ(process.read_line(), "got something");
  EXPECT_EQ(process.read_line(), std::nullopt);
  EXPECT_EQ(process.wait().error_output, "two\n");
}

TEST_P(Spawning, ALineThatDoesNotComeIsATimeoutAndMayStillCome) {
  auto process = alpha().spawn({.shell = "read -r x; echo $x"});
  error_of(Error::Kind::timeout, [&] { process.read_line({.timeout = 50ms}); });
  process.write("late\n");
  EXPECT_EQ(process.read_line(), "late");
}

TEST_P(Spawning, ManyRunAtTheSameTime) {
  std::vector<Process> all;
  for (int i = 0; i < 8; ++i) all.push_back(alpha().spawn({.shell = "read -r x; echo $((x * 2))"}));
  for (int i = 0; i < 8; ++i) all[static_cast<std::size_t>(i)].write(std::to_string(i) + "\n");
  for (int i = 0; i < 8; ++i)
    EXPECT_EQ(all[static_cast<std::size_t>(i)].read_line(), std::to_string(i * 2));
}

TEST_P(Spawning, DroppingEndsTheWholeGroup) {
  {
    auto process = alpha().spawn({.shell = "sleep 4711 & echo up; wait"});
    EXPECT_EQ(process.read_line(), "up");
  }
  alpha().wait_until_fails("pgrep -f 'sleep 471[1]'", {.timeout = 60s});
}

TEST_P(Spawning, KillSendsASignalAndWaitTellsTheEnd) {
  auto process = alpha().spawn({.argv = {"sleep", "4712"}});
  process.kill(9);
  EXPECT_EQ(process.wait({.timeout = 60s}).exit_code, 128 + 9);
}

TEST_P(Spawning, TheMachinesEndEndsIt) {
  auto process = alpha().spawn({.shell = "echo up; sleep 4713"});
  EXPECT_EQ(process.read_line(), "up");
  alpha().crash();
  EXPECT_THAT(error_of(Error::Kind::guest, [&] { process.wait(); }), HasSubstr("crash()"));
}

}  // namespace
}  // namespace attest
