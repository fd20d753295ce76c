// The agent's program as its caller sees it: arguments, stdio, signals.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "tests/unit/agent/peer.h"

namespace attest::agent_test {
namespace {

using proto::AgentFrameType;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(AgentStdio, ServesOnTwoPipesAndEndsWithThem) {
  auto [their_in, our_out] = base::make_pipe();
  auto [our_in, their_out] = base::make_pipe();
  AgentProcess agent({"--stdio"}, their_in.get(), their_out.get());
  their_in.reset();
  their_out.reset();
  pid_t pid = 0;
  {
    Peer peer(std::move(our_in), std::move(our_out));
    EXPECT_EQ(peer.shell("echo on").out(), "on\n");
    EXPECT_EQ(peer.call({{"op", "run"}, {"shell", "cat"}}).out(), "");
    auto stream = peer.open(sleeping);
    pid = pid_of(peer, stream);
  }
  EXPECT_EQ(agent.wait(), 0);
  until_dead(pid);
}

TEST(AgentStdio, EndsAtOnceWithoutAHost) {
  AgentProcess agent({"--stdio"});
  EXPECT_EQ(agent.wait(), 0);
}

TEST(AgentStdio, ServesAFileOfRequests) {
  base::TempDir directory;
  const auto in = directory.path() / "in", out = directory.path() / "out";
  base::write_file(in, proto::agent_hello("a") + proto::agent_frame(AgentFrameType::ping, 3, "x"));
  const int in_fd = open(in.c_str(), O_RDONLY), out_fd = open(out.c_str(), O_RDWR | O_CREAT, 0600);
  AgentProcess agent({"--stdio"}, in_fd, out_fd);
  EXPECT_EQ(agent.wait(), 0);
  EXPECT_THAT(base::read_file(out), HasSubstr(proto::agent_frame(AgentFrameType::pong, 3, "x")));
  close(in_fd);
  close(out_fd);
}

TEST(AgentProgram, SaysWhatItIsAndRefusesNonsense) {
  const auto output = [](std::vector<std::string> arguments, int code) {
    auto [ours, theirs] = base::make_pipe();
    const int out = theirs.get();
    AgentProcess agent(std::move(arguments), -1, out, [out] { dup2(out, 2); });
    theirs.reset();
    Bytes text(10'000, '\0');
    ssize_t size = 0;
    for (ssize_t count; (count = read(ours.get(), text.data() + size, 1000)) > 0;) size += count;
    const int status = agent.wait();
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == code) << status;
    return text.substr(0, static_cast<std::size_t>(size));
  };
  EXPECT_THAT(output({"--version"}, 0), StartsWith("attest-agent "));
  EXPECT_THAT(output({"--help"}, 0), HasSubstr("--vsock-dial CID:PORT"));
  EXPECT_THAT(output({"--nonsense"}, 2), HasSubstr("'--nonsense' is no option"));
  EXPECT_THAT(output({"--vsock"}, 2), HasSubstr("needs a value"));
  EXPECT_THAT(output({"--vsock", "x"}, 2), HasSubstr("'--vsock' does not take 'x'"));
  EXPECT_THAT(output({"--vsock-dial", "2"}, 2), HasSubstr("does not take '2'"));
}

TEST(AgentProgram, EndsItsCommandsOnSigterm) {
  Agent agent;
  Peer peer = agent.connect();
  auto stream = peer.open({{"op", "run"}, {"shell", "trap '' TERM; sleep 1000"}});
  const auto pid = pid_of(peer, stream);
  kill(agent.process().pid(), SIGTERM);
  EXPECT_EQ(agent.process().wait(), 0);
  until_dead(pid);
}

}  // namespace
}  // namespace attest::agent_test
