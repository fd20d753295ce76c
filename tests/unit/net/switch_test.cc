#include "lib/net/switching/switch.h"

#include "lib/base/file.h"
#include "lib/net/switching/out_queue.h"
#include "tests/unit/net/peer.h"

#include <gmock/gmock.h>

namespace attest::net {
namespace {
using namespace std::chrono_literals;

// A switch and peers on socket pairs. In most tests peer i is station i + 1; it is port i + 1.
// That a frame does not come is shown by one that does: a port's frames keep their order.
class SwitchTest : public testing::Test {
 protected:
  SwitchTest() {
    on_loop(loop_, [&] {
      made_ = std::make_unique<Switch>(loop_.executor());
      made_->listen(socket_, 0);
      return 0;
    });
  }
  void TearDown() override { destroy(); }

  void destroy() {
    on_loop(loop_, [&] {
      made_.reset();
      return 0;
    });
  }
  // Each is a member of the number of its port.
  Peer attach() {
    auto [ours, theirs] = base::stream_pair();
    base::Fd* end = &theirs;
    on_loop(loop_, [&, end] { return made_->join(std::move(*end), ++members_); });
    return Peer(std::move(ours));
  }
  std::vector<Peer> attach(int count) {
    std::vector<Peer> peers;
    for (int i = 0; i < count; ++i) peers.push_back(attach());
    return peers;
  }
  SwitchStats stats() {
    return on_loop(loop_, [&] { return made_->stats(); });
  }

  void set_rules(const std::function<void(Rules&)>& make) {
    on_loop(loop_, [&] {
      Rules rules;
      make(rules);
      made_->set_rules(std::move(rules));
      return 0;
    });
  }

  base::TempDir dir_;
  std::string socket_ = (dir_.path() / "s").string();
  async::Loop loop_;
  int members_ = 0;
  std::unique_ptr<Switch> made_;
};

TEST_F(SwitchTest, SendsABroadcastToAllButItsSender) {
  auto peers = attach(3);
  auto hello = frame(0xff, 1, "hello");
  peers[0].send(hello);
  EXPECT_EQ(peers[1].receive(), hello);
  EXPECT_EQ(peers[2].receive(), hello);
  auto reply = frame(0xff, 2, "reply");
  peers[1].send(reply);
  EXPECT_EQ(peers[0].receive(), reply) << "the sender's own frame came first";
}

TEST_F(SwitchTest, FloodsMulticastAndUnknownStations) {
  auto peers = attach(3);
  auto multicast = frame(9, 1, "group");
  multicast[0] = 1;
  for (auto& flooded : {frame(9, 1, "to nobody known"), multicast}) {
    peers[0].send(flooded);
    EXPECT_EQ(peers[1].receive(), flooded);
    EXPECT_EQ(peers[2].receive(), flooded);
  }
}

TEST_F(SwitchTest, SendsToALearnedStationOnlyWhereItIs) {
  auto peers = attach(3);
  peers[1].send(frame(0xff, 2, "here is 2"));
  peers[0].receive();
  peers[2].receive();
  peers[0].send(frame(2, 1, "for 2"));
  peers[0].send(frame(0xff, 1, "for all"));
  EXPECT_EQ(peers[1].receive(), frame(2, 1, "for 2"));
  EXPECT_EQ(peers[1].receive(), frame(0xff, 1, "for all"));
  EXPECT_EQ(peers[2].receive(), frame(0xff, 1, "for all"));
}

TEST_F(SwitchTest, FollowsAStationThatMoves) {
  auto peers = attach(3);
  peers[1].send(frame(0xff, 9, "9 is at peer 1"));
  peers[0].receive();
  peers[2].receive();
  peers[2].send(frame(0xff, 9, "9 is at peer 2"));
  peers[0].receive();
  peers[1].receive();
  peers[0].send(frame(9, 1, "for 9"));
  peers[0].send(frame(0xff, 1, "for all"));
  EXPECT_EQ(peers[2].receive(), frame(9, 1, "for 9"));
  EXPECT_EQ(peers[1].receive(), frame(0xff, 1, "for all"));
}

TEST_F(SwitchTest, KeepsAFrameForAStationOnTheSendersOwnPort) {
  auto peers = attach(2);
  peers[0].send(frame(0xff, 8, "8 is behind peer 0"));
  peers[0].send(frame(8, 1, "between two behind peer 0"));
  peers[0].send(frame(0xff, 1, "for all"));
  EXPECT_EQ(peers[1].receive(), frame(0xff, 8, "8 is behind peer 0"));
  EXPECT_EQ(peers[1].receive(), frame(0xff, 1, "for all"));
}

TEST_F(SwitchTest, LearnsEachTaggedVlanOnItsOwnAndPassesTagsUnchanged) {
  auto peers = attach(3);
  peers[1].send(frame(0xff, 2, "2 on VLAN 5", 5));
  EXPECT_EQ(peers[0].receive(), frame(0xff, 2, "2 on VLAN 5", 5));
  peers[2].receive();
  peers[0].send(frame(2, 1, "tagged", 5));  // known
  peers[0].send(frame(2, 1, "untagged"));   // unknown there: flooded
  EXPECT_EQ(peers[1].receive(), frame(2, 1, "tagged", 5));
  EXPECT_EQ(peers[2].receive(), frame(2, 1, "untagged"));
}

TEST_F(SwitchTest, PassesFramesAsLongAsQemuTakesThemAndDiscardsOthers) {
  auto peers = attach(2);
  auto longest = frame(0xff, 1, std::string(max_forwarded_frame - 14, 'x'));
  peers[0].send(frame(0xff, 1, std::string(max_forwarded_frame - 13, 'y')));
  peers[0].send("too short");
  peers[0].send(longest);
  EXPECT_EQ(peers[1].receive(), longest);
  EXPECT_EQ(stats().discarded, 2u);
  EXPECT_EQ(stats().ports.size(), 2u) << "neither ends a connection";
}

TEST_F(SwitchTest, PutsFramesTogetherThatComeByteByByte) {
  auto peers = attach(2);
  for (char byte : encode_frame(frame(0xff, 1, "slow")) + encode_frame(frame(0xff, 1, "typist")))
    peers[0].send_raw({&byte, 1});
  EXPECT_EQ(peers[1].receive(), frame(0xff, 1, "slow"));
  EXPECT_EQ(peers[1].receive(), frame(0xff, 1, "typist"));
}

TEST_F(SwitchTest, PutsOutThePeerWithAnImpossibleLengthAndNoOther) {
  auto peers = attach(4);
  peers[2].send(frame(0xff, 3, "last words"));
  peers[2].send_raw(std::string_view("\0\0\0\0", 4));
  peers[3].send_raw("GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(peers[0].receive(), frame(0xff, 3, "last words"));
  EXPECT_EQ(peers[1].receive(), frame(0xff, 3, "last words"));
  while (peers[2].receive()) continue;
  while (peers[3].receive()) continue;
  peers[0].send(frame(0xff, 1, "still here"));
  EXPECT_EQ(peers[1].receive(), frame(0xff, 1, "still here"));
  EXPECT_EQ(stats().malformed, 2u);
  EXPECT_EQ(stats().ports.size(), 2u);
}

TEST_F(SwitchTest, DropsFramesForAPeerThatStopsReadingAndHoldsUpNoOther) {
  auto peers = attach(3);
  auto& stuck = peers[2];
  const int rounds = 120, burst = 64;
  std::string payload(1400, 'x');
  for (int round = 0; round < rounds; ++round) {
    std::string bytes;
    for (int i = 0; i < burst; ++i)
      bytes += encode_frame(frame(0xff, 1, std::to_string(round * burst + i) + " " + payload));
    peers[0].send_raw(bytes);
    for (int i = 0; i < burst; ++i)
      ASSERT_EQ(peers[1].receive(),
                frame(0xff, 1, std::to_string(round * burst + i) + " " + payload));
  }
  auto after = stats();
  EXPECT_EQ(after.ports[1].dropped, 0u);
  EXPECT_GT(after.ports[2].dropped, 0u);
  EXPECT_EQ(after.ports[2].dropped + after.ports[2].frames_out,
            static_cast<unsigned>(rounds * burst));
  EXPECT_LE(after.ports[2].queued_bytes, OutQueue::limit + max_frame);

  // What it finds when it wakes up is whole frames in order, and then new ones.
  int last = -1;
  for (std::uint64_t i = 0; i < after.ports[2].frames_out; ++i) {
    auto got = stuck.receive();
    ASSERT_TRUE(got);
    int number = std::stoi(got->substr(14));
    EXPECT_GT(number, last);
    last = number;
  }
  EXPECT_EQ(stuck.unfinished(), "");
  peers[0].send(frame(0xff, 1, "awake?"));
  EXPECT_EQ(stuck.receive(), frame(0xff, 1, "awake?"));
}

TEST_F(SwitchTest, LetsPeersLeaveAndJoinAgainOnItsSocket) {
  auto peers = attach(1);
  for (int i = 0; i < 5; ++i) {
    Peer guest(base::connect_unix(socket_));
    guest.send(frame(0xff, 7, "I am 7"));
    EXPECT_EQ(peers[0].receive(), frame(0xff, 7, "I am 7"));
    peers[0].send(frame(7, 1, "welcome"));
    EXPECT_EQ(guest.receive(), frame(7, 1, "welcome")) << "the stale port was remembered";
  }
  EXPECT_EQ(stats().frames_in, 10u);
}

TEST_F(SwitchTest, CountsPerPortAndInAll) {
  auto peers = attach(3);
  peers[0].send(frame(0xff, 1, "x"));
  peers[1].receive();
  peers[2].receive();
  peers[1].send(frame(1, 2, "y"));
  peers[0].receive();
  auto now = stats();
  EXPECT_EQ(now.frames_in, 2u);
  EXPECT_EQ(now.frames_out, 3u);
  ASSERT_EQ(now.ports.size(), 3u);
  EXPECT_EQ(now.ports[0].port, 1);
  EXPECT_EQ(now.ports[0].frames_in, 1u);
  EXPECT_EQ(now.ports[0].frames_out, 1u);
  EXPECT_EQ(now.ports[2].frames_out, 1u);
  EXPECT_EQ(now.dropped + now.discarded + now.malformed, 0u);
}

TEST_F(SwitchTest, ServesTwoHundredPorts) {
  auto peers = attach(200);
  for (std::size_t i = 0; i < peers.size(); ++i) {
    peers[i].send(frame(0xff, static_cast<int>(i) + 1, "hello"));
    for (std::size_t k = 0; k < peers.size(); ++k)
      if (k != i) {
        ASSERT_EQ(peers[k].receive(), frame(0xff, static_cast<int>(i) + 1, "hello"));
      }
  }
  peers[199].send(frame(1, 200, "for the first"));
  EXPECT_EQ(peers[0].receive(), frame(1, 200, "for the first"));
}

TEST_F(SwitchTest, EndsItsPeersAndRemovesItsSocketWithTrafficInFlight) {
  auto peers = attach(4);
  std::string bytes;
  for (int i = 0; i < 1000; ++i) bytes += encode_frame(frame(0xff, 1, std::string(1400, 'x')));
  for (int i = 0; i < 5; ++i)
    peers[0].send_raw(bytes);                // nobody reads: queues are full, drains wait
  peers[1].send_raw(bytes.substr(0, 1000));  // an unfinished frame
  destroy();
  for (auto& peer : peers)
    while (peer.receive()) continue;
  EXPECT_FALSE(std::filesystem::exists(socket_));
}

TEST_F(SwitchTest, ListensForEachMemberOnASocketOfItsOwn) {
  auto second = (dir_.path() / "second").string();
  on_loop(loop_, [&] {
    made_->listen(second, 7);
    return 0;
  });
  Peer one(base::connect_unix(socket_)), other(base::connect_unix(second));
  auto peers = attach(1);
  one.send(frame(0xff, 1, "hello"));
  peers[0].receive();
  other.send(frame(0xff, 2, "hello"));
  EXPECT_EQ(peers[0].receive(), frame(0xff, 2, "hello"));
  std::vector<int> members;
  for (auto& port : stats().ports) members.push_back(port.member);
  EXPECT_THAT(members, testing::UnorderedElementsAre(0, 7, 1));
}

TEST_F(SwitchTest, SendsDelayedFramesWhenTheirTimeHasComeAndNotBefore) {
  auto peers = attach(2);
  set_rules([](Rules& rules) { rules.shape_from(1, {.delay = 20ms}); });
  auto before = std::chrono::steady_clock::now();
  peers[0].send(frame(0xff, 1, "slow"));
  EXPECT_EQ(peers[1].receive(), frame(0xff, 1, "slow"));
  EXPECT_GE(std::chrono::steady_clock::now() - before, 20ms);
  set_rules([](Rules& rules) { rules.shape_from(1, {.delay = 1h}); });
  peers[0].send(frame(0xff, 1, "never"));
  peers[1].send(frame(0xff, 2, "has come"));
  EXPECT_EQ(peers[0].receive(), frame(0xff, 2, "has come"));
  set_rules([](Rules& rules) { rules.shape_from(1, {.delay = 1ms}); });
  peers[0].send(frame(0xff, 1, "soon"));
  EXPECT_EQ(peers[1].receive(), frame(0xff, 1, "soon")) << "an earlier one sets the alarm anew";
}

TEST_F(SwitchTest, LetsAPortLeaveOrEndWithFramesOnTheirWayToIt) {
  auto peers = attach(3);
  set_rules([](Rules& rules) {
    rules.shape_to(2, {.delay = 5ms});
    rules.shape_to(3, {.delay = 10ms});
  });
  for (int i = 0; i < 100; ++i) peers[0].send(frame(0xff, 1, std::to_string(i)));
  on_loop(loop_, [&] {
    made_->leave(2);
    made_->leave(2);
    made_->leave(99);
    return 0;
  });
  while (peers[1].receive()) continue;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(peers[2].receive(), frame(0xff, 1, std::to_string(i)));
  EXPECT_EQ(stats().ports.size(), 2u);
}

TEST_F(SwitchTest, EndsWithFramesDelayed) {
  auto peers = attach(2);
  set_rules([](Rules& rules) {
    rules.shape_from(1, {.delay = 1ms, .jitter = 1ms});
    rules.shape_to(2, {.delay = 1h});
  });
  for (int i = 0; i < 1000; ++i) peers[0].send(frame(0xff, 1, std::to_string(i)));
  peers[1].send(frame(0xff, 2, "has come"));
  EXPECT_EQ(peers[0].receive(), frame(0xff, 2, "has come"));
  destroy();
  EXPECT_EQ(peers[1].receive(), std::nullopt);
}

TEST_F(SwitchTest, ShowsItsWatchersWhatPasses) {
  auto peers = attach(2);
  std::vector<std::string> seen;
  int number = on_loop(loop_, [&] {
    return made_->watch([&](const Seen& one) { seen.emplace_back(one.frame.substr(14)); });
  });
  peers[0].send(frame(0xff, 1, "shown"));
  peers[1].receive();
  on_loop(loop_, [&] {
    made_->unwatch(number);
    return 0;
  });
  peers[0].send(frame(0xff, 1, "not shown"));
  peers[1].receive();
  EXPECT_THAT(seen, testing::ElementsAre("shown"));
}

TEST(Switch, RefusesAPathThatIsTooLongByName) {
  async::Loop loop;
  std::string path = "/tmp/" + std::string(200, 'x');
  on_loop(loop, [&] {
    Switch made(loop.executor());
    EXPECT_THROW(made.listen(path, 1), Error);
    return 0;
  });
}

}  // namespace
}  // namespace attest::net
