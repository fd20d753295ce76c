// What the agent may cost a guest, and that the library carries it.
#include "lib/guest/agent_binary.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/unit/agent/peer.h"

namespace attest::agent_test {
namespace {

TEST(AgentBinary, IsBelowTwoMegabytes) {
  EXPECT_LT(base::read_file(agent_path()).size(), 2'000'000u);
}

TEST(AgentBinary, NeedsNoLibraryAndNoLoader) {
  const auto bytes = base::read_file(agent_path());
  Elf64_Ehdr head{};
  ASSERT_GT(bytes.size(), sizeof head);
  std::memcpy(&head, bytes.data(), sizeof head);
  for (int i = 0; i < head.e_phnum; ++i) {
    Elf64_Phdr part{};
    std::memcpy(&part, bytes.data() + head.e_phoff + std::size_t(i) * sizeof part, sizeof part);
    EXPECT_NE(part.p_type, static_cast<Elf64_Word>(PT_INTERP));
    if (part.p_type == PT_GNU_STACK) {
      EXPECT_EQ(part.p_flags & PF_X, 0u) << "an executable stack";
    }
  }
}

TEST(AgentBinary, IsCarriedByTheLibraryWhole) {
  EXPECT_TRUE(guest::agent_binary() == base::read_file(agent_path()));
}

TEST(AgentBinary, NeedsBelowThreeMegabytesOfMemory) {
  Agent agent;
  Peer peer = agent.connect();
  peer.settle();
  EXPECT_LT(agent.process().rss_kib(), 3000);
}

}  // namespace
}  // namespace attest::agent_test
