// Frames, windows and hellos, against the agent's real program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/peer.h"

namespace attest::agent_test {
namespace {

using proto::AgentFrameType;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

TEST(AgentConnection, GreetsWithTheMachineAndTheBoot) {
  Agent agent;
  Peer peer = agent.connect();
  EXPECT_EQ(peer.greeting().version, 1);
  EXPECT_THAT(peer.greeting().machine, ::testing::AnyOf("x86_64", "aarch64"));
  EXPECT_EQ(peer.greeting().boot_id + "\n", base::read_file("/proc/sys/kernel/random/boot_id"));
  peer.settle();
}

TEST(AgentConnection, AnUnknownOperationIsAnErrorOfItsStream) {
  Agent agent;
  Peer peer = agent.connect();
  EXPECT_THAT(peer.call({{"op", "dance"}}).result(""),
              HasSubstr("unsupported: this agent knows no operation 'dance'"));
  peer.settle();
}

}  // namespace
}  // namespace attest::agent_test
