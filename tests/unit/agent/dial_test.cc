// The agent that calls its host: connects when somebody listens, and again whenever that ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "tests/unit/agent/peer.h"

namespace attest::agent_test {
namespace {

base::Fd accept_from(const base::Fd& listener) {
  pollfd ready{listener.get(), POLLIN, 0};
  if (poll(&ready, 1, 20'000) != 1) throw std::runtime_error("nobody dialled within 20 s");
  return base::Fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

TEST(AgentDial, ConnectsAsSoonAsSomebodyListensAndAgainAfterEachEnd) {
  base::TempDir directory("attest-dial-");
  const std::string path = directory.path() / "host.sock";
  AgentProcess agent({"--unix-dial", path});  // before there is anything to connect to
  auto listener = base::listen_unix(path);
  for (int round = 0; round < 3; ++round) {
    Peer peer(accept_from(listener));
    EXPECT_EQ(peer.shell("echo $((6 * 7))").out(), "42\n");
    peer.hang_up();
  }
}

TEST(AgentDial, EndsWhatItsHostHasBegunWhenTheHostHangsUp) {
  base::TempDir directory("attest-dial-");
  const std::string path = directory.path() / "host.sock";
  auto listener = base::listen_unix(path);
  AgentProcess agent({"--unix-dial", path});
  pid_t pid = 0;
  {
    Peer peer(accept_from(listener));
    auto stream = peer.open({{"op", "run"}, {"argv", "sleep"}, {"argv", "1000"}});
    peer.until([&] { return !peer[stream].events.empty(); });
    pid = static_cast<pid_t>(peer[stream].events[0].number("pid").value());
    peer.hang_up();
  }
  Peer next(accept_from(listener));
  const auto gone = "while kill -0 " + std::to_string(pid) + " 2>/dev/null; do sleep .01; done";
  EXPECT_EQ(next.shell(gone).code(), 0);
}

TEST(AgentDial, RefusesAPathThatFitsNoSocket) {
  AgentProcess agent({"--unix-dial", "/" + std::string(200, 'x')});
  EXPECT_NE(agent.wait(), 0);
}

}  // namespace
}  // namespace attest::agent_test
