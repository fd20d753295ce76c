// Guests without a bash, and with a profile that ends its shell: seen from a mount namespace.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "guest/agent/users.h"
#include "tests/unit/agent/peer.h"

namespace attest::agent_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Runs in the agent's process before it is the agent.
void put_over(const char* file, const char* what) {
  if (unshare(CLONE_NEWNS) != 0 ||
      mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount(what, file, nullptr, MS_BIND, nullptr) != 0)
    _exit(98);
}

TEST(AgentWithoutBash, RunsTextsWithSh) {
  if (getuid() != 0) GTEST_SKIP() << "only root may hide bash in a mount namespace";
  Agent agent([] { put_over("/usr/bin/bash", "/dev/null"); });
  Peer peer = agent.connect();
  EXPECT_EQ(peer.shell("echo $0; pwd; echo $HOME").out(), "sh\n/tmp\n/root\n");
  EXPECT_EQ(peer.shell("false; echo no").code(), 1);
  EXPECT_EQ(peer.shell("echo $nope; echo no").code(), 2);
  EXPECT_EQ(peer.shell("env | grep _at_ || echo none").out(), "none\n");
  EXPECT_EQ(peer.shell("ls /proc/self/fd | wc -l").out(), "4\n");
  EXPECT_EQ(peer.shell("x=" + Bytes(200'000, 'x') + "; echo ${#x}").out(), "200000\n");
  auto stream = peer.open({{"op", "run"}, {"shell", "cat"}, {"stdin", "1"}, {"env", "A=b"}});
  peer.data(stream, "in");
  peer.end(stream);
  EXPECT_EQ(peer.wait(stream).out(), "in");
}

TEST(AgentWithABadProfile, LeavesItOut) {
  if (getuid() != 0) GTEST_SKIP() << "only root may change the profile in a mount namespace";
  base::TempDir directory;
  const auto profile = (directory.path() / "profile").string();
  base::write_file(profile, "echo noise; export FROM_PROFILE=1; exit 3\n");
  Agent agent([&] { put_over("/etc/profile", profile.c_str()); });
  Peer peer = agent.connect();
  EXPECT_EQ(peer.shell("echo ${FROM_PROFILE-none}").out(), "none\n");
}

TEST(AgentWithAProfile, GivesItsVariablesToAll) {
  if (getuid() != 0) GTEST_SKIP() << "only root may change the profile in a mount namespace";
  base::TempDir directory;
  const auto profile = (directory.path() / "profile").string();
  base::write_file(profile,
                   "echo noise; echo noise >&2; read x; cd /; export FROM='a\nb' LC_ALL=C\n");
  Agent agent([&] { put_over("/etc/profile", profile.c_str()); });
  Peer peer = agent.connect();
  EXPECT_EQ(peer.shell("echo \"$FROM $LC_ALL\"; pwd").out(), "a\nb C\n/tmp\n");
  EXPECT_EQ(peer.call({{"op", "run"}, {"argv", "printenv"}, {"argv", "FROM"}}).out(), "a\nb\n");
}

constexpr std::string_view passwd =
    "root:x:0:0:root:/root:/bin/bash\n"
    "broken\n"
    "ann:x:1000:100:Ann,,,:/home/ann:/bin/sh\n"
    "bad:x:no:100::/:/bin/sh\n"
    "homeless:x:7:8:::\n";
constexpr std::string_view group =
    "root:x:0:\nusers:x:100:ann\nwheel:x:10:bob,ann\nvideo:x:44:anna\n";

TEST(AgentUsers, HaveTheirGroups) {
  auto ann = agent::parse_user("ann", passwd, group);
  ASSERT_TRUE(ann);
  EXPECT_EQ(ann->uid, 1000u);
  EXPECT_EQ(ann->home, "/home/ann");
  EXPECT_THAT(ann->groups, ElementsAre(100, 10));
  EXPECT_EQ(agent::parse_user("homeless", passwd, group)->home, "/");
  for (auto name : {"an", "anna", "broken", "bad", "", "x"})
    EXPECT_FALSE(agent::parse_user(name, passwd, group)) << name;
}

}  // namespace
}  // namespace attest::agent_test
