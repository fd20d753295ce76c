// What links do to frames, measured from end to end. Bounds are wide where time is: these run in
// emulated machines, too.
#include "bed.h"

#include <linux/if_ether.h>

#include <string>

namespace attest::net {
namespace {
using testing::Ge;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Le;

class KernelImpairment : public ShapingBed {
 protected:
  void SetUp() override {
    auto& missing = shaping_support().no_impairments;
    if (!missing.empty()) GTEST_SKIP() << missing;
    ShapingBed::SetUp();
    if (!IsSkipped()) rules_ = std::make_unique<KernelRules>("br");
  }
  void TearDown() override {
    rules_.reset();
    ShapingBed::TearDown();
  }

  void to(Member member, const Impairment& impairment) {
    Rules rules;
    rules.shape_to(member, impairment);
    rules_->apply(rules, ports_);
  }
  void from(Member member, const Impairment& impairment) {
    Rules rules;
    rules.shape_from(member, impairment);
    rules_->apply(rules, ports_);
  }
  void heal() { rules_->apply({}, ports_); }

  static void note(const char* what, double value) {
    testing::Test::RecordProperty(what, std::to_string(value));
    std::printf("measured: %s %.3f\n", what, value);
  }
  static double lost(const std::vector<Arrival>& arrivals, int count) {
    return copies(arrivals, count)[0] / static_cast<double>(count);
  }
  static bool in_order(const std::vector<Arrival>& arrivals) {
    return std::is_sorted(arrivals.begin(), arrivals.end(),
                          [](auto& one, auto& other) { return one.number < other.number; });
  }

  // Sends a stream of TCP and returns the length of the longest frame that arrived.
  std::size_t longest_of_a_stream(Member sender, Member receiver) {
    base::Fd listener, frames, accepted;
    sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(9)};
    ::inet_pton(AF_INET, make_nic(1, receiver).ipv4.c_str(), &address.sin_addr);
    auto* where = reinterpret_cast<sockaddr*>(&address);
    in_netns(netns_.at(receiver), [&] {
      listener.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      int on = 1;
      ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
      base::check(::bind(listener.get(), where, sizeof address), "binding");
      base::check(::listen(listener.get(), 1), "listening");
      frames.reset(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_IP)));
    });
    in_netns(netns_.at(sender), [&] {
      base::Fd stream(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      base::check(::connect(stream.get(), where, sizeof address), "connecting");
      accepted.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      std::string piece(40'000, 'x'), sink(1 << 20, ' ');
      for (int round = 0; round < 20; ++round) {
        // Fits into the buffers of both ends, so this does not wait for who reads below.
        base::check(static_cast<int>(::send(stream.get(), piece.data(), piece.size(), 0)),
                    "sending");
        for (std::size_t got = 0; got < piece.size();) {
          auto count = ::recv(accepted.get(), sink.data(), sink.size(), 0);
          base::check(static_cast<int>(count), "receiving");
          got += static_cast<std::size_t>(count);
        }
      }
    });
    std::size_t longest = 0;
    char start[1];
    for (ssize_t size = 0;
         (size = ::recv(frames.get(), start, sizeof start, MSG_DONTWAIT | MSG_TRUNC)) > 0;)
      longest = std::max(longest, static_cast<std::size_t>(size));
    return longest;
  }

  std::unique_ptr<KernelRules> rules_;
};

constexpr int many = 20'000;

TEST_F(KernelImpairment, LossIsOfTheShareAndOfOneDirection) {
  const struct {
    const char* what;
    Member from, to;
    bool receiver;
  } cases[] = {{"to_machine_lost", 1, 2, true},
               {"from_machine_lost", 2, 1, false},
               {"to_test_lost", 1, us, true},
               {"from_test_lost", us, 1, false}};
  for (auto& row : cases) {
    SCOPED_TRACE(row.what);
    row.receiver ? to(row.to, {.loss = 0.1}) : from(row.from, {.loss = 0.1});
    auto share = lost(sent(row.from, row.to, many), many);
    note(row.what, share);
    EXPECT_NEAR(share, 0.1, 0.013);
    EXPECT_EQ(lost(sent(row.to, row.from, 1000), 1000), 0) << "the other way";
    EXPECT_EQ(lost(sent(3, row.to == us ? 2 : us, 1000), 1000), 0) << "others";
  }
  to(2, {.loss = 1});
  for (int number = 0; number < 1000; ++number) stations_.at(1).send(stations_.at(2), number);
  EXPECT_EQ(lost(sent(1, 3, 1000), 1000), 0) << "others";
  EXPECT_THAT(stations_.at(2).receive(50ms), IsEmpty());
  heal();
  EXPECT_EQ(lost(sent(1, 2, 1000), 1000), 0);
}

TEST_F(KernelImpairment, DelayIsOfOneDirectionAndAddsUpOverTwoLinks) {
  const struct {
    const char* what;
    Member from, to;
    bool receiver;
  } cases[] = {{"to_machine_ms", 1, 2, true},
               {"from_machine_ms", 2, 1, false},
               {"to_test_ms", 1, us, true},
               {"from_test_ms", us, 1, false}};
  for (auto& row : cases) {
    SCOPED_TRACE(row.what);
    row.receiver ? to(row.to, {.delay = 50ms}) : from(row.from, {.delay = 50ms});
    auto arrivals = sent(row.from, row.to, 200);
    EXPECT_EQ(arrivals.size(), 200U);
    EXPECT_TRUE(in_order(arrivals));
    auto way = least_way(row.from, row.to);
    note(row.what, way);
    EXPECT_THAT(way, testing::AllOf(Ge(49.9), Le(100)));
    EXPECT_LT(least_way(row.to, row.from), 40) << "the other way";
  }
  Rules both;
  both.shape_from(1, {.delay = 50ms});
  both.shape_to(2, {.delay = 70ms});
  rules_->apply(both, ports_);
  auto way = least_way(1, 2);
  note("two_links_ms", way);
  EXPECT_THAT(way, testing::AllOf(Ge(119.9), Le(170)));
  EXPECT_LT(least_way(3, 1), 40);
}

TEST_F(KernelImpairment, JitterSpreadsDelaysAndKeepsTheOrder) {
  to(2, {.delay = 100ms, .jitter = 90ms});
  // One at a time, or all would wait behind the slowest.
  std::vector<double> ways;
  for (int number = 0; number < 40; ++number) {
    stations_.at(1).send(stations_.at(2), number);
    ASSERT_TRUE(stations_.at(2).hears_within(patience));
    ways.push_back(milliseconds_of(stations_.at(2).receive(0ms).at(0).way));
  }
  std::sort(ways.begin(), ways.end());
  note("least_ms", ways.front());
  note("median_ms", ways[20]);
  note("most_ms", ways.back());
  EXPECT_THAT(ways.front(), testing::AllOf(Ge(9.9), Le(80)));
  EXPECT_GE(ways.back(), 120);
  auto arrivals = sent(1, 2, 2000);
  EXPECT_EQ(arrivals.size(), 2000U);
  EXPECT_TRUE(in_order(arrivals));
}

TEST_F(KernelImpairment, DuplicatesComeTwiceAndWhatIsLostAsOften) {
  to(2, {.duplicate = 0.2});
  auto times = copies(sent(1, 2, many), many);
  note("twice", times[2] / double{many});
  EXPECT_EQ(times[0], 0);
  EXPECT_NEAR(times[2] / double{many}, 0.2, 0.017);
  EXPECT_EQ(times[3], 0);

  from(1, {.loss = 0.1, .duplicate = 0.2});
  times = copies(sent(1, 2, many), many);
  note("lost_beside_duplicates", times[0] / double{many});
  note("twice_beside_loss", times[2] / double{many});
  EXPECT_NEAR(times[0] / double{many}, 0.1, 0.013);
  EXPECT_NEAR(times[2] / double{many}, 0.9 * 0.2, 0.017);
  EXPECT_EQ(times[3], 0);
}

TEST_F(KernelImpairment, CorruptFramesArriveWithAFlippedBit) {
  constexpr int count = 5000;
  to(2, {.corrupt = 0.3});
  auto arrivals = sent(1, 2, count, 1400);
  auto changed = std::count_if(arrivals.begin(), arrivals.end(), [](auto& one) {
    return !one.intact || one.number < 0 || one.number >= count;
  });
  note("changed", static_cast<double>(changed) / count);
  // Some flips are in headers, and then the frame is not for this socket.
  EXPECT_NEAR(static_cast<double>(changed) / count, 0.3, 0.05);
  EXPECT_GT(arrivals.size(), count * 0.97);
  EXPECT_TRUE(reaches(2, 1));
}

TEST_F(KernelImpairment, ReorderedFramesAreOvertaken) {
  constexpr int count = 2000;
  to(2, {.reorder = 0.1});
  auto arrivals = sent(1, 2, count);
  while (arrivals.size() < count && stations_.at(2).hears_within(patience))
    for (auto& one : stations_.at(2).receive(0ms))  // also those that were held back to the last
      if (one.number >= 0) arrivals.push_back(one);
  ASSERT_EQ(arrivals.size(), count * 1U);
  int newest = -1, overtaken = 0;
  for (auto& one : arrivals) {
    if (one.number < newest) ++overtaken;
    newest = std::max(newest, one.number);
  }
  note("overtaken", static_cast<double>(overtaken) / count);
  EXPECT_GE(overtaken, count * 0.05) << "nearly all that are held back";
  EXPECT_LE(overtaken, count * 0.15);
}

TEST_F(KernelImpairment, ARateLets100MsOfFramesWait) {
  to(2, {.rate = 2'000'000});
  constexpr int size = 958;  // 1000 bytes with its headers: 4 ms, and 25 of them wait
  auto& one = stations_.at(1);
  auto& other = stations_.at(2);
  other.receive(0ms);
  std::vector<Arrival> arrivals;
  int number = 0;
  for (auto begin = Clock::now(); arrivals.size() < 400 && Clock::now() - begin < 60s;) {
    for (int handful = 0; handful < 5; ++handful) one.send(other, number++, size);
    if (!other.hears_within(5ms)) continue;
    auto more = other.receive(0ms);
    arrivals.insert(arrivals.end(), more.begin(), more.end());
  }
  ASSERT_GE(arrivals.size(), 400U);
  EXPECT_TRUE(in_order(arrivals));
  auto count = static_cast<double>(arrivals.size());
  auto span = milliseconds_of(arrivals.back().at - arrivals.front().at);
  note("mbit_a_second", count * 8 / span);
  EXPECT_LE(count, span / 4 + 25 + 5) << "more than the rate and what may come together";
  // A busy host stops sender and receiver now and then, so the best stretch counts.
  double least = span;
  for (std::size_t end = 100; end < arrivals.size(); ++end)
    least = std::min(least, milliseconds_of(arrivals[end].at - arrivals[end - 100].at));
  note("least_ms_of_100", least);
  EXPECT_LE(least, 500) << "400 ms is the rate";
  std::sort(arrivals.begin(), arrivals.end(), [](auto& a, auto& b) { return a.way < b.way; });
  auto wait = milliseconds_of(arrivals[arrivals.size() * 9 / 10].way);
  note("wait_ms", wait);
  EXPECT_GE(wait, 90);
}

TEST_F(KernelImpairment, AnMtuDropsWhatIsLonger) {
  from(1, {.mtu = 1000});
  constexpr int headers = 28;
  EXPECT_EQ(sent(1, 2, 10, 1000 - headers).size(), 10U);
  EXPECT_THAT(sent(1, 2, 10, 1001 - headers), IsEmpty());
  EXPECT_EQ(sent(2, 1, 10, 1400).size(), 10U);
}

// Each frame has its own luck, also where the sender leaves the cutting of a stream to its card.
TEST_F(KernelImpairment, LargeSegmentsAreCutIntoFrames) {
  auto longest = [&] { return longest_of_a_stream(1, 2); };
  EXPECT_GT(longest(), 1514U) << "this kernel cuts them anyway, so this test shows nothing";
  from(1, {.delay = 1ms});
  EXPECT_THAT(longest(), testing::AllOf(Ge(1000U), Le(1514U)));
  to(2, {.delay = 1ms});
  EXPECT_THAT(longest(), testing::AllOf(Ge(1000U), Le(1514U)));
}

TEST_F(KernelImpairment, HealingLosesNothingThatIsUnderWayAndKeepsTheOrder) {
  for (bool receiver : {true, false}) {
    SCOPED_TRACE(receiver ? "to" : "from");
    receiver ? to(2, {.delay = 300ms}) : from(1, {.delay = 300ms});
    auto& one = stations_.at(1);
    auto& other = stations_.at(2);
    other.receive(0ms);
    for (int number = 0; number < 100; ++number) one.send(other, number);
    heal();
    for (int number = 100; number < 200; ++number) one.send(other, number);
    std::vector<Arrival> arrivals;
    while (arrivals.size() < 200 && other.hears_within(patience))
      for (auto& arrival : other.receive(0ms))
        if (arrival.number >= 0) arrivals.push_back(arrival);
    EXPECT_EQ(arrivals.size(), 200U);
    EXPECT_TRUE(in_order(arrivals));
    EXPECT_LT(least_way(1, 2), 40);
    heal();  // takes the queues away
    EXPECT_LT(least_way(1, 2), 40);
  }
}

TEST_F(KernelImpairment, SeveralFaultsAtOnceKeepTheirLinks) {
  Rules rules;
  rules.shape_to(1, {.delay = 60ms});
  rules.shape_from(1, {.loss = 0.5});
  rules.shape_from(us, {.delay = 30ms, .loss = 0.2});
  rules.block(3, 2);
  rules_->apply(rules, ports_);
  EXPECT_NEAR(lost(sent(1, 2, 2000), 2000), 0.5, 0.07);
  EXPECT_THAT(least_way(2, 1), testing::AllOf(Ge(59.9), Le(110)));
  auto from_us = sent(us, 1, 2000);
  EXPECT_NEAR(lost(from_us, 2000), 0.2, 0.055);
  EXPECT_THAT(least_way(us, 1), testing::AllOf(Ge(89.9), Le(140)));
  EXPECT_TRUE(blocked({3, 2}, {us, 2}));
  EXPECT_TRUE(reaches(2, 3));
}

TEST_F(KernelImpairment, OfAPortThatIsMadeAgainIsBackAtTheNextApply) {
  Rules rules;
  rules.shape_to(1, {.loss = 1});
  rules.shape_from(1, {.loss = 1});
  rules.shape_to(9, {.loss = 1});
  auto ports = ports_;
  ports[9] = "not-there";
  rules_->apply(rules, ports);
  EXPECT_TRUE(blocked({2, 1}, {2, 3}));
  netlink_->remove(ports_.at(1));
  rules_->apply(rules, ports);
  add_machine(1);
  ASSERT_TRUE(warmed_up(stations_.at(1), stations_.at(2)));
  rules_->apply(rules, ports);
  EXPECT_TRUE(blocked({2, 1}, {2, 3}));
  EXPECT_TRUE(blocked({1, 2}, {3, 2}));
  netlink_->remove(ports_.at(1));
  heal();  // of what is gone
}

TEST_F(KernelImpairment, LeavesNothingBehind) {
  Rules rules;
  for (Member member : {1, 2, us}) {
    rules.shape_to(member, {.delay = 10s});
    rules.shape_from(member, {.delay = 10s});
  }
  rules_->apply(rules, ports_);
  EXPECT_THAT(netlink_->names("ifb-"), testing::SizeIs(3));
  rules_.reset();
  EXPECT_THAT(netlink_->names("ifb-"), IsEmpty());
  for (Member from : {1, 2, us})
    for (Member to : {1, 2, us})
      EXPECT_TRUE(from == to || reaches(from, to)) << from << " to " << to;
}

TEST_F(KernelImpairment, WithoutPermissionSaysWhatItNeedsAndLeavesNone) {
  to(2, {.loss = 1});
  on_a_thread([&] {
    drop_capabilities();
    try {
      KernelRules unable("br");
      Rules rules;
      rules.shape_to(1, {.loss = 1});
      unable.apply(rules, ports_);
      FAIL() << "the kernel lets anybody impair";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::host);
      EXPECT_THAT(error.what(), HasSubstr("'port1'"));
      EXPECT_THAT(error.what(), HasSubstr("CAP_NET_ADMIN"));
    }
  });
  EXPECT_TRUE(blocked({1, 2}, {1, 3}));
  EXPECT_TRUE(reaches(2, 1));
}

}  // namespace
}  // namespace attest::net
