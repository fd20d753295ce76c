#include "lib/net/switching/forwarding.h"

#include "tests/unit/net/fake_port.h"
#include "tests/unit/net/peer.h"

#include <gmock/gmock.h>

namespace attest::net {
namespace {
using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// Ports i of members i + 1, which are stations i + 1 too. Time stands still but for after().
class ForwardingTest : public testing::Test {
 protected:
  void join(int count) {
    for (int i = 0; i < count; ++i) {
      ports_.push_back(std::make_shared<FakePort>());
      plugs_.push_back(forwarding_.join(ports_.back(), static_cast<int>(ports_.size())));
    }
  }
  void rules(const std::function<void(Rules&)>& make) {
    Rules made;
    make(made);
    forwarding_.set_rules(std::move(made));
  }
  void send(std::size_t port, const std::vector<std::string>& frames) {
    std::vector<std::string> bytes;
    for (auto& one : frames) bytes.push_back(encode_frame(one));
    std::vector<std::string_view> framed(bytes.begin(), bytes.end());
    forwarding_.take(*plugs_[port], framed, now_);
  }
  void send(std::size_t port, const std::string& frame) { send(port, std::vector{frame}); }
  void after(std::chrono::microseconds time) {
    now_ += time;
    forwarding_.release(now_);
  }
  // What port i got since it was asked last.
  std::vector<std::string> got(std::size_t port) { return std::exchange(ports_[port]->got, {}); }
  // Makes all stations known.
  void learn_all() {
    for (std::size_t i = 0; i < ports_.size(); ++i) send(i, frame(0xff, int(i) + 1, "hello"));
    for (auto& port : ports_) port->got.clear();
  }
  void watch() {
    forwarding_.watch([this](const Seen& seen) {
      seen_.push_back(std::to_string(seen.from) + ">" + std::to_string(seen.to) + " " +
                      std::string(seen.frame.substr(14)) + " " + seen.fault);
    });
  }
  std::vector<std::string> seen() { return std::exchange(seen_, {}); }
  PortStats stats(std::size_t port) { return forwarding_.stats().ports.at(port); }

  Forwarding::Time now_{1h};
  Forwarding forwarding_{1};
  std::vector<std::shared_ptr<FakePort>> ports_;
  std::vector<std::shared_ptr<Plug>> plugs_;
  std::vector<std::string> seen_;
};

const auto x = frame(2, 1, "x"), y = frame(2, 1, "y"), z = frame(2, 1, "z");

TEST_F(ForwardingTest, LearnsNothingFromWhatIsLostOnTheSendersLink) {
  Rules lost, unplugged;
  lost.shape_from(2, {.loss = 1});
  for (Member other : {0, 1, 3}) unplugged.block(2, other);
  join(3);
  for (auto& faults : {lost, unplugged}) {
    send(2, frame(0xff, 7, "the new holder"));
    forwarding_.set_rules(faults);
    send(1, frame(0xff, 7, "the old one still talks"));
    for (auto& port : ports_) port->got.clear();
    send(0, frame(7, 1, "who holds it?"));
    EXPECT_THAT(got(2), SizeIs(1));
    forwarding_.set_rules({});
  }
}

TEST_F(ForwardingTest, BlocksOneDirectionWhetherKnownOrFlooded) {
  join(3);
  rules([](Rules& made) { made.block(1, 2); });
  auto unknown = frame(9, 1, "to nobody known");
  send(0, unknown);
  EXPECT_THAT(got(1), IsEmpty());
  EXPECT_THAT(got(2), ElementsAre(unknown));
  learn_all();
  send(0, x);
  EXPECT_THAT(got(1), IsEmpty());
  auto back = frame(1, 2, "back");
  send(1, back);
  EXPECT_THAT(got(0), ElementsAre(back)) << "the other direction is open";
  EXPECT_EQ(stats(1).faulted, 3u);
  EXPECT_EQ(stats(0).faulted + stats(2).faulted, 0u);
  rules([](Rules&) {});
  send(0, x);
  EXPECT_THAT(got(1), ElementsAre(x));
}

TEST_F(ForwardingTest, LearnsStationsOfMembersThatAreBlocked) {
  join(3);
  rules([](Rules& made) { made.block(1, 2); });
  send(0, frame(0xff, 1, "hello"));
  got(2);
  send(2, frame(1, 3, "for 1"));
  EXPECT_THAT(got(0), ElementsAre(frame(1, 3, "for 1")));
  EXPECT_THAT(got(1), IsEmpty()) << "flooded";
}

TEST_F(ForwardingTest, DelaysWhatALinkSendsOnly) {
  join(3);
  learn_all();
  rules([](Rules& made) { made.shape_from(1, {.delay = 10ms}); });
  send(0, x);
  auto back = frame(1, 2, "back");
  send(1, back);
  EXPECT_THAT(got(0), ElementsAre(back));
  after(9999us);
  EXPECT_THAT(got(1), IsEmpty());
  EXPECT_EQ(forwarding_.next_release(), now_ + 1us);
  after(1us);
  EXPECT_THAT(got(1), ElementsAre(x));
  EXPECT_THAT(got(2), IsEmpty());
  EXPECT_EQ(forwarding_.next_release(), std::nullopt);
}

TEST_F(ForwardingTest, DelaysWhatALinkReceivesOnly) {
  join(3);
  rules([](Rules& made) { made.shape_to(2, {.delay = 10ms}); });
  auto all = frame(0xff, 1, "for all");
  send(0, all);
  EXPECT_THAT(got(2), ElementsAre(all));
  EXPECT_THAT(got(1), IsEmpty());
  auto back = frame(1, 2, "back");
  send(1, back);
  EXPECT_THAT(got(0), ElementsAre(back));
  after(10ms);
  EXPECT_THAT(got(1), ElementsAre(all));
}

TEST_F(ForwardingTest, AddsUpTheDelaysOfBothLinksHoweverLateItIsAsked) {
  join(2);
  learn_all();
  rules([](Rules& made) {
    made.shape_from(1, {.delay = 10ms});
    made.shape_to(2, {.delay = 20ms});
  });
  send(0, x);
  after(29ms);
  EXPECT_THAT(got(1), IsEmpty());
  EXPECT_EQ(forwarding_.next_release(), now_ + 1ms);
  after(1ms);
  EXPECT_THAT(got(1), ElementsAre(x));
}

TEST_F(ForwardingTest, SendsWhatIsDueBeforeWhatComes) {
  join(2);
  learn_all();
  rules([](Rules& made) { made.shape_to(2, {.delay = 10ms}); });
  send(0, {x, y});
  now_ += 10ms;
  rules([](Rules&) {});
  send(0, z);
  EXPECT_THAT(got(1), ElementsAre(x, y, z));
}

TEST_F(ForwardingTest, KeepsTheOrderOfALinkUnderJitterAndRate) {
  join(2);
  learn_all();
  rules([](Rules& made) {
    made.shape_from(1, {.delay = 5ms, .jitter = 20ms});
    made.shape_to(2, {.jitter = 3ms, .rate = 10'000'000});
  });
  std::vector<std::string> sent;
  for (int i = 0; i < 200; ++i) {
    sent.push_back(frame(2, 1, std::to_string(i)));
    send(0, sent.back());
    after(500us);
  }
  after(1s);
  EXPECT_EQ(got(1), sent);
}

TEST_F(ForwardingTest, LetsFramesOvertakeTheOnesThatAreHeldBack) {
  join(2);
  learn_all();
  rules([](Rules& made) { made.shape_from(1, {.reorder = 0.2}); });
  std::vector<std::string> sent;
  for (int i = 0; i < 200; ++i) {
    sent.push_back(frame(2, 1, std::to_string(i)));
    send(0, sent.back());
    after(1ms);
  }
  after(1s);
  auto arrived = got(1);
  EXPECT_NE(arrived, sent);
  EXPECT_THAT(arrived, testing::UnorderedElementsAreArray(sent));
}

TEST_F(ForwardingTest, SendsDuplicatesTwiceAndCorruptsACopyOnly) {
  join(3);
  rules([](Rules& made) {
    made.shape_to(2, {.duplicate = 1});
    made.shape_to(3, {.corrupt = 1});
  });
  auto all = frame(0xff, 1, "for all");
  send(0, all);
  EXPECT_THAT(got(1), ElementsAre(all, all));
  auto changed = got(2);
  ASSERT_THAT(changed, SizeIs(1));
  EXPECT_NE(changed[0], all);
  EXPECT_EQ(changed[0].substr(0, 14), all.substr(0, 14));
}

TEST_F(ForwardingTest, LosesOneTenthOfTwentyThousandFramesAndCountsThem) {
  join(2);
  learn_all();
  rules([](Rules& made) { made.shape_from(1, {.loss = 0.1}); });
  for (int i = 0; i < 200; ++i) send(0, std::vector<std::string>(100, x));
  auto arrived = got(1).size();
  EXPECT_NEAR(static_cast<double>(arrived) / 20'000, 0.9, 0.01);
  EXPECT_EQ(stats(0).faulted, 20'000 - arrived);
  EXPECT_EQ(stats(1).faulted, 0u);
  EXPECT_EQ(stats(1).frames_out, arrived + 1);
}

TEST_F(ForwardingTest, MakesTheSameChoicesInARunWithTheSameFrames) {
  auto run = [](std::uint64_t seed) {
    Forwarding forwarding(seed);
    auto one = std::make_shared<FakePort>(), other = std::make_shared<FakePort>();
    auto plug = forwarding.join(one, 1);
    forwarding.join(other, 2);
    Rules made;
    made.shape_from(1, {.loss = 0.2, .duplicate = 0.2, .corrupt = 0.2});
    made.shape_to(2, {.loss = 0.2});
    forwarding.set_rules(made);
    for (int i = 0; i < 500; ++i) {
      auto bytes = encode_frame(frame(2, 1, std::to_string(i)));
      std::string_view framed = bytes;
      forwarding.take(*plug, {&framed, 1}, Forwarding::Time(1s));
    }
    return other->got;
  };
  EXPECT_EQ(run(3), run(3));
  EXPECT_NE(run(3), run(4));
}

TEST_F(ForwardingTest, GoesOnWithItsChoicesWhenAFaultIsPutOnAgain) {
  join(2);
  learn_all();
  auto losses = [&] {
    rules([](Rules& made) { made.shape_to(2, {.loss = 0.5}); });
    std::string made;
    for (int i = 0; i < 100; ++i) {
      send(0, x);
      made += got(1).empty() ? 'x' : '.';
    }
    rules([](Rules&) {});
    return made;
  };
  EXPECT_NE(losses(), losses());
}

TEST_F(ForwardingTest, LosesDelayedFramesThatRulesBlockByThenAndKeepsTheTimeOfOthers) {
  join(3);
  learn_all();
  rules([](Rules& made) {
    made.shape_from(1, {.delay = 10ms});
    made.shape_to(2, {.delay = 10ms});
  });
  auto to_3 = frame(3, 1, "to 3");
  auto from_3 = frame(2, 3, "from 3");
  send(0, {x, to_3});
  send(2, {from_3});
  rules([](Rules& made) {
    made.block(1, 2);
    made.block(3, 2);
  });
  after(9ms);
  EXPECT_THAT(got(2), IsEmpty());
  after(1ms);
  EXPECT_THAT(got(2), ElementsAre(to_3)) << "on its way before the rules changed";
  EXPECT_THAT(got(1), IsEmpty());
  EXPECT_EQ(stats(1).faulted, 2u);
}

TEST_F(ForwardingTest, ForgetsWhatWaitsForAPortThatLeaves) {
  join(3);
  learn_all();
  rules([](Rules& made) {
    made.shape_from(1, {.delay = 10ms});
    made.shape_to(2, {.delay = 5ms});
  });
  auto to_3 = frame(3, 1, "to 3");
  send(0, {x, to_3});
  send(2, frame(2, 3, "waits at 2"));
  forwarding_.leave(2);
  EXPECT_TRUE(ports_[1]->closed);
  forwarding_.leave(2);
  forwarding_.leave(1);
  after(20ms);
  EXPECT_THAT(got(1), IsEmpty());
  EXPECT_THAT(got(2), testing::Contains(to_3)) << "its sender may have left";
  EXPECT_EQ(forwarding_.next_release(), std::nullopt);
}

TEST_F(ForwardingTest, SharesOneLinkAmongThePortsOfAMember) {
  join(2);
  auto again = std::make_shared<FakePort>();
  forwarding_.join(again, 2);
  rules([](Rules& made) {
    made.shape_to(2, {.loss = 1});
    made.block(3, 1);
  });
  auto later = std::make_shared<FakePort>();
  forwarding_.join(later, 2);
  send(0, frame(0xff, 1, "for all"));
  EXPECT_THAT(got(1), IsEmpty());
  EXPECT_THAT(again->got, IsEmpty());
  EXPECT_THAT(later->got, IsEmpty()) << "also one that joins under the rules";
}

TEST_F(ForwardingTest, CountsFaultsWhereTheyHappenAndKeepsThemInTheSums) {
  join(3);
  learn_all();
  rules([](Rules& made) {
    made.shape_from(1, {.mtu = 100});
    made.shape_to(2, {.mtu = 50});
    made.block(1, 3);
  });
  send(0, {frame(2, 1, std::string(101, 'x')), frame(2, 1, std::string(51, 'x')),
           frame(3, 1, "blocked"), x});
  EXPECT_THAT(got(1), ElementsAre(x));
  EXPECT_EQ(stats(0).faulted, 1u);
  EXPECT_EQ(stats(1).faulted, 1u);
  EXPECT_EQ(stats(2).faulted, 1u);
  EXPECT_EQ(stats(2).member, 3);
  forwarding_.leave(1);
  auto sum = forwarding_.stats();
  EXPECT_EQ(sum.faulted, 3u);
  EXPECT_EQ(sum.frames_in, 7u);
  EXPECT_THAT(sum.ports, SizeIs(2));
}

TEST_F(ForwardingTest, ShowsWatchersEachFrameOnceAndWhatKeptItFromWhom) {
  join(3);
  watch();
  rules([](Rules& made) {
    made.shape_from(1, {.mtu = 3});
    made.shape_to(2, {.loss = 1});
    made.block(1, 3);
  });
  send(0, frame(0xff, 1, "all"));
  EXPECT_THAT(seen(), ElementsAre("1>0 all ", "1>2 all loss", "1>3 all partition"));
  send(1, frame(1, 2, "one"));
  EXPECT_THAT(seen(), ElementsAre("2>1 one "));
  send(0, frame(2, 1, "long"));
  EXPECT_THAT(seen(), ElementsAre("1>2 long mtu")) << "taken away on the way in";
  send(0, "too short");
  EXPECT_THAT(seen(), IsEmpty());
}

TEST_F(ForwardingTest, ShowsDelayedAndDuplicatedFramesOnceAsTheyCome) {
  join(2);
  learn_all();
  watch();
  rules([](Rules& made) { made.shape_from(1, {.delay = 1ms, .duplicate = 1, .corrupt = 1}); });
  send(0, x);
  EXPECT_THAT(seen(), ElementsAre("1>2 x "));
  rules([](Rules& made) { made.block(1, 2); });
  after(1ms);
  EXPECT_THAT(seen(), SizeIs(2)) << "each copy that is kept from 2";
}

TEST_F(ForwardingTest, ShowsNothingToAWatcherThatHasGone) {
  join(2);
  int first = 0, second = 0;
  int number = forwarding_.watch([&](const Seen&) { ++first; });
  forwarding_.watch([&](const Seen&) { ++second; });
  send(0, x);
  forwarding_.unwatch(number);
  send(0, x);
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 2);
}

TEST_F(ForwardingTest, DropsWhatWaitsBeyondTheBoundOfALink) {
  join(3);
  learn_all();
  rules([](Rules& made) { made.shape_to(2, {.delay = 1min}); });
  auto big = frame(2, 1, std::string(60'000, 'x'));
  for (int i = 0; i < 300; ++i) send(0, big);
  EXPECT_EQ(stats(1).faulted, 300 - Shaper::max_waiting / big.size());
  after(1min);
  EXPECT_THAT(got(1), SizeIs(Shaper::max_waiting / big.size()));
}

}  // namespace
}  // namespace attest::net
