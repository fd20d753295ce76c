// Waits for files, unix sockets and ports, against this host's own.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "tests/unit/agent/peer.h"

namespace attest::agent_test {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

// With inotify, and with the fallback for when the guest has no more of it.
class AgentFileWaits : public ::testing::TestWithParam<bool> {
 protected:
  std::string path(std::string_view name) { return (directory_.path() / name).string(); }
  std::uint32_t begin(std::string_view name, std::string_view gone = "0") {
    auto wait = peer_.open({{"op", "wait"}, {"for", "file"}, {"path", path(name)}, {"gone", gone}});
    peer_.settle();
    return wait;
  }
  void expect_waiting(std::uint32_t wait) {
    peer_.settle();
    EXPECT_FALSE(peer_[wait].over()) << peer_[wait].result("");
  }
  std::string ended(std::uint32_t wait) { return peer_.wait(wait).result("path"); }

  base::TempDir directory_{"attest-waits-"};
  Agent agent_{[] {
    if (GetParam()) setenv("ATTEST_AGENT_NO_INOTIFY", "1", 1);
  }};
  Peer peer_ = agent_.connect();
};
INSTANTIATE_TEST_SUITE_P(, AgentFileWaits, ::testing::Values(false, true),
                         [](const auto& row) { return row.param ? "polling" : "inotify"; });

TEST_P(AgentFileWaits, HoldAtOnceForWhatIsThere) {
  base::write_file(path("x"), "");
  EXPECT_EQ(ended(begin("x")), path("x"));
  EXPECT_EQ(ended(begin("")), path(""));
  EXPECT_EQ(ended(begin("y", "1")), path("y"));
}

TEST_P(AgentFileWaits, HoldWhenTheFileComes) {
  auto wait = begin("x");
  expect_waiting(wait);
  EXPECT_EQ(peer_[wait].events.at(0).get("state"), "'" + path("x") + "' is not there");
  base::write_file(path("other"), "");
  expect_waiting(wait);
  base::write_file(path("x"), "");
  EXPECT_EQ(ended(wait), path("x"));
}

TEST_P(AgentFileWaits, HoldWhenItsDirectoriesAreMadeOneByOne) {
  auto wait = begin("a/b/c/x");
  fs::create_directory(path("a"));
  expect_waiting(wait);
  fs::create_directory(path("a/b"));
  fs::remove(path("a/b"));
  expect_waiting(wait);
  fs::create_directories(path("made/c"));
  fs::rename(path("made"), path("a/b"));
  expect_waiting(wait);
  base::write_file(path("a/b/c/x"), "");
  EXPECT_EQ(ended(wait), path("a/b/c/x"));
}

TEST_P(AgentFileWaits, HoldForAWholeTreeThatIsMovedIn) {
  auto wait = begin("a/b/x");
  fs::create_directories(path("made/b"));
  base::write_file(path("made/b/x"), "");
  fs::rename(path("made"), path("a"));
  EXPECT_EQ(ended(wait), path("a/b/x"));
}

TEST_P(AgentFileWaits, FollowSymlinksWhereverTheyAre) {
  fs::create_directories(path("real"));
  symlink("real", path("link").c_str());
  symlink("../late/target", path("real/x").c_str());
  auto wait = begin("link/x");
  expect_waiting(wait);
  fs::create_directory(path("late"));
  expect_waiting(wait);
  base::write_file(path("late/target"), "");
  EXPECT_EQ(ended(wait), path("link/x"));
}

TEST_P(AgentFileWaits, ASymlinkThatLeadsNowhereIsNotThere) {
  auto wait = begin("x");
  symlink("nowhere", path("x").c_str());
  expect_waiting(wait);
  fs::remove(path("x"));
  symlink("/", path("x").c_str());
  EXPECT_EQ(ended(wait), path("x"));
}

TEST_P(AgentFileWaits, TakePatternsInTheLastPart) {
  auto wait = begin("d/*.log");
  fs::create_directory(path("d"));
  base::write_file(path("d/x.txt"), "");
  base::write_file(path("d/.hidden.log"), "");
  expect_waiting(wait);
  base::write_file(path("d/y1.log"), "");
  EXPECT_EQ(ended(wait), path("d/y1.log"));
  EXPECT_EQ(ended(begin("d/y?.l*g")), path("d/y1.log"));
  EXPECT_THAT(peer_.wait(begin("*/x")).result(""), HasSubstr("only the last part may hold * or ?"));
}

TEST_P(AgentFileWaits, HoldWhenTheFileGoes) {
  base::write_file(path("x"), "");
  base::write_file(path("y1"), "");
  base::write_file(path("y2"), "");
  auto wait = begin("x", "1"), pattern = begin("y*", "1");
  expect_waiting(wait);
  fs::remove(path("x"));
  EXPECT_EQ(ended(wait), path("x"));
  fs::remove(path("y1"));
  expect_waiting(pattern);
  fs::remove(path("y2"));
  EXPECT_EQ(ended(pattern), path("y*"));
}

TEST_P(AgentFileWaits, CanBeGivenUp) {
  auto wait = begin("x");
  peer_.cancel(wait);
  EXPECT_EQ(peer_.wait(wait).result(""), "error: timeout: waiting for file '" + path("x") +
                                             "' was given up; last seen: '" + path("x") +
                                             "' is not there");
}

TEST_P(AgentFileWaits, SeeWhatIsMountedOverADirectory) {
  fs::create_directories(path("m"));
  fs::create_directories(path("other"));
  base::write_file(path("other/x"), "");
  auto wait = begin("m/x");
  if (mount(path("other").c_str(), path("m").c_str(), "", MS_BIND, nullptr) != 0)
    GTEST_SKIP() << "cannot bind";
  auto found = ended(wait);
  umount2(path("m").c_str(), MNT_DETACH);
  EXPECT_EQ(found, path("m/x"));
}

TEST(AgentMomentaryFile, CountsThoughItIsGoneWhenSomebodyLooks) {
  base::TempDir directory("attest-waits-");
  auto name = (directory.path() / "x").string();
  Agent agent;
  auto peer = agent.connect();
  auto wait = peer.open({{"op", "wait"}, {"for", "file"}, {"path", name}});
  peer.settle();
  // Stopped, so that it cannot look in between.
  kill(agent.process().pid(), SIGSTOP);
  base::write_file(name, "");
  fs::remove(name);
  kill(agent.process().pid(), SIGCONT);
  EXPECT_EQ(peer.wait(wait).result("path"), name);
}

TEST(AgentManyEvents, AreNoHarmWhenTheirQueueOverflows) {
  base::TempDir directory("attest-waits-");
  Agent agent;
  auto peer = agent.connect();
  auto name = (directory.path() / "target").string();
  auto wait = peer.open({{"op", "wait"}, {"for", "file"}, {"path", name}});
  peer.settle();
  auto limit = std::atol(base::read_file("/proc/sys/fs/inotify/max_queued_events").c_str());
  kill(agent.process().pid(), SIGSTOP);
  for (long i = 0; i < limit + 100; ++i) {
    auto other = directory.path() / (i % 2 ? "a" : "b");
    base::Fd made(creat(other.c_str(), 0600));
    unlink(other.c_str());
  }
  base::write_file(name, "");
  kill(agent.process().pid(), SIGCONT);
  EXPECT_EQ(peer.wait(wait).result("path"), name);
}

class AgentSocketWaits : public ::testing::Test {
 protected:
  std::string path(std::string_view name) { return (directory_.path() / name).string(); }
  std::uint32_t begin(const std::string& name, std::string_view datagram = "0") {
    auto wait =
        peer_.open({{"op", "wait"}, {"for", "socket"}, {"path", name}, {"datagram", datagram}});
    peer_.settle();
    return wait;
  }
  base::Fd bound(const std::string& name, int type = SOCK_STREAM) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, name.c_str(), sizeof address.sun_path - 1);
    base::Fd fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  }

  base::TempDir directory_{"attest-waits-"};
  Agent agent_;
  Peer peer_ = agent_.connect();
};

TEST_F(AgentSocketWaits, HoldOnlyWhenSomebodyListens) {
  auto wait = begin(path("s"));
  auto server = bound(path("s"));
  peer_.until([&] {
    auto& events = peer_[wait].events;
    return !events.empty() &&
           events.back().get("state") == "'" + path("s") + "': Connection refused";
  });
  EXPECT_FALSE(peer_[wait].over());
  listen(server.get(), 1);
  EXPECT_TRUE(peer_.wait(wait).done);
}

TEST_F(AgentSocketWaits, AreNotFooledByAnOldFile) {
  bound(path("s"));
  auto wait = begin(path("s"));
  peer_.settle();
  EXPECT_FALSE(peer_[wait].over());
  unlink(path("s").c_str());
  auto server = bound(path("s"));
  listen(server.get(), 1);
  EXPECT_TRUE(peer_.wait(wait).done);
}

TEST_F(AgentSocketWaits, TakeDatagramsAndPacketsAndTellThemApart) {
  auto datagrams = bound(path("d"), SOCK_DGRAM);
  EXPECT_TRUE(peer_.wait(begin(path("d"), "1")).done);
  EXPECT_THAT(peer_.wait(begin(path("d"))).result(""),
              HasSubstr("is a datagram socket, which was not asked for"));
  auto packets = bound(path("p"), SOCK_SEQPACKET);
  listen(packets.get(), 1);
  EXPECT_TRUE(peer_.wait(begin(path("p"))).done);
  EXPECT_THAT(peer_.wait(begin(path("p"), "1")).result(""), HasSubstr("is no datagram socket"));
}

TEST_F(AgentSocketWaits, TakePathsThatAreTooLongForAnAddress) {
  auto deep = directory_.path() / std::string(100, 'd');
  fs::create_directories(deep);
  auto before = fs::current_path();
  fs::current_path(deep);
  auto server = bound("s");
  fs::current_path(before);
  listen(server.get(), 1);
  EXPECT_TRUE(peer_.wait(begin((deep / "s").string())).done);
}

class AgentPortWaits : public ::testing::Test {
 protected:
  // Bound to a free port of `address`, not listening.
  base::Fd bound(const char* address, int type = SOCK_STREAM) {
    base::Fd fd;
    if (std::strchr(address, ':')) {
      sockaddr_in6 to{};
      to.sin6_family = AF_INET6;
      to.sin6_port = htons(static_cast<std::uint16_t>(port_));
      inet_pton(AF_INET6, address, &to.sin6_addr);
      fd.reset(socket(AF_INET6, type | SOCK_CLOEXEC, 0));
      if (bind(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) fd.reset();
    } else {
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(static_cast<std::uint16_t>(port_));
      inet_pton(AF_INET, address, &to.sin_addr);
      fd.reset(socket(AF_INET, type | SOCK_CLOEXEC, 0));
      if (bind(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) fd.reset();
    }
    sockaddr_in6 own{};
    socklen_t size = sizeof own;
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size);
    port_ = ntohs(own.sin6_port);  // at the same place in both families
    return fd;
  }
  std::uint32_t begin(std::string_view address, std::string_view how = "") {
    AgentFields fields{{"op", "wait"}, {"for", "port"}};
    fields.add("port", std::int64_t{port_});
    if (!address.empty()) fields.add("address", address);
    if (!how.empty()) fields.add(how, "1");
    auto wait = peer_.open(fields);
    peer_.settle();
    return wait;
  }
  void until_state(std::uint32_t wait, std::string_view text) {
    peer_.until([&] {
      auto& stream = peer_[wait];
      return stream.over() ||
             (!stream.events.empty() && stream.events.back().get("state").find(text) != text.npos);
    });
    EXPECT_FALSE(peer_[wait].over()) << peer_[wait].result("");
  }

  int port_ = 0;
  Agent agent_;
  Peer peer_ = agent_.connect();
};

TEST_F(AgentPortWaits, HoldOnlyWhenSomebodyListens) {
  auto server = bound("127.0.0.1");
  auto wait = begin("");
  until_state(wait, "127.0.0.1: Connection refused");
  listen(server.get(), 1);
  EXPECT_TRUE(peer_.wait(wait).done);
}

TEST_F(AgentPortWaits, TakeLocalhostByIpv6Too) {
  auto server = bound("::1");
  if (!server) GTEST_SKIP() << "no IPv6 here";
  listen(server.get(), 1);
  EXPECT_TRUE(peer_.wait(begin("")).done);
  EXPECT_TRUE(peer_.wait(begin("::1")).done);
  until_state(begin("127.0.0.1"), "Connection refused");
}

TEST_F(AgentPortWaits, ForClosedPortsHoldWhenNobodyListens) {
  auto server = bound("127.0.0.1");
  listen(server.get(), 1);
  auto wait = begin("", "closed");
  until_state(wait, "127.0.0.1: open");
  server.reset();
  EXPECT_TRUE(peer_.wait(wait).done);
}

TEST_F(AgentPortWaits, AreNotFooledByAQueueThatIsFull) {
  auto server = bound("127.0.0.1");
  listen(server.get(), 0);
  std::vector<base::Fd> callers;
  for (int i = 0; i < 3; ++i) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port_));
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    callers.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    connect(callers.back().get(), reinterpret_cast<sockaddr*>(&to), sizeof to);
  }
  auto wait = begin("127.0.0.1");
  until_state(wait, "Connection timed out");
  peer_.cancel(wait);
  EXPECT_THAT(peer_.wait(wait).result(""), HasSubstr("port " + std::to_string(port_)));
}

TEST_F(AgentPortWaits, ForUdpLookAtTheGuestsOwnSockets) {
  auto server = bound("127.0.0.1", SOCK_DGRAM);
  EXPECT_TRUE(peer_.wait(begin("", "udp")).done);
  EXPECT_TRUE(peer_.wait(begin("127.0.0.1", "udp")).done);
  server.reset();
  auto wait = begin("", "udp");
  until_state(wait, "no socket is bound");
  server = bound("::", SOCK_DGRAM);
  if (!server) server = bound("0.0.0.0", SOCK_DGRAM);
  EXPECT_TRUE(peer_.wait(wait).done);
  EXPECT_THAT(peer_.wait(begin("192.0.2.1", "udp")).result(""),
              HasSubstr("unsupported: '192.0.2.1' is not this machine"));
}

TEST_F(AgentPortWaits, LookNamesUp) {
  auto server = bound("0.0.0.0");
  listen(server.get(), 16);
  char name[256];
  ASSERT_EQ(gethostname(name, sizeof name), 0);
  auto wait = begin("no-such-host.invalid");
  until_state(wait, "the name 'no-such-host.invalid' is unknown");
  // Of this host, if it has a line in /etc/hosts.
  if (base::read_file("/etc/hosts").find(name) != std::string::npos) {
    EXPECT_TRUE(peer_.wait(begin(name)).done);
  }
}

TEST_F(AgentPortWaits, AreRefusedForWhatIsNoPort) {
  for (int bad : {0, -1, 65536}) {
    port_ = bad;
    EXPECT_EQ(peer_.wait(begin("")).result(""), "error: usage: a port is 1 to 65535");
  }
}

TEST(AgentWaits, OfAnUnknownKindAreUnsupported) {
  Agent agent;
  auto peer = agent.connect();
  EXPECT_EQ(peer.call({{"op", "wait"}, {"for", "godot"}}).result(""),
            "error: unsupported: this agent knows no wait for 'godot'");
}

}  // namespace
}  // namespace attest::agent_test
