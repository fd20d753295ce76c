#include "lib/net/fabric.h"

#include "tests/unit/net/running_fabric.h"

#include <gmock/gmock.h>

namespace attest::net {
namespace {
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Fabric, GivesEachMachineASocketPerVlanThatItCanJoinOnceStarted) {
  RunningFabric fabric({{"a", {1, 2}}, {"b", {2}}}, {}, {}, {4});
  auto a = fabric.fabric().attachments("a"), b = fabric.fabric().attachments("b");
  ASSERT_EQ(a.size(), 2u);
  EXPECT_EQ(a[0].vlan, 1);
  EXPECT_EQ(a[1].mac, "52:54:00:12:02:01");
  EXPECT_EQ(a[1].ipv4, "192.168.2.1");
  EXPECT_EQ(a[1].ipv6, "2001:db8:2::1");
  EXPECT_EQ(a[1].vde + a[1].interface, "");
  EXPECT_NE(a[1].socket, b[0].socket);
  EXPECT_NE(a[0].socket, a[1].socket);
  EXPECT_THROW(base::connect_unix(a[0].socket), Error) << "nothing is made before start()";

  fabric.start();
  fabric.start();  // again: nothing to do
  auto first = fabric.join_stream("a", 1), second = fabric.join_stream("b");
  first.send(frame(0xff, 1, "from a"));
  EXPECT_EQ(next(second), frame(0xff, 1, "from a"));
  EXPECT_NO_THROW(fabric.loop([](Fabric& f) { return f.in_kernel(4); }))
      << "a VLAN without machines exists too";
  EXPECT_THROW(fabric.loop([](Fabric& f) { return f.in_kernel(3); }), Error);
}

TEST(Fabric, LeavesNothingWhenOneVlanFailsAndCanBeStartedAgain) {
  RunningFabric fabric({{"a", {1, 2}}});
  std::filesystem::create_directory(fabric.dir() / "v2n1.sock");
  try {
    fabric.start();
    FAIL() << "it was started";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::host);
    EXPECT_THAT(error.what(), HasSubstr("v2n1.sock"));
    EXPECT_THAT(error.what(), HasSubstr("while setting up VLAN 2"));
  }
  EXPECT_FALSE(std::filesystem::exists(fabric.dir() / "v1n1.sock"));
  std::filesystem::remove(fabric.dir() / "v2n1.sock");
  fabric.start();
  fabric.join_stream("a", 1);
}

TEST(Fabric, RefusesMachinesThatThePlanDoesNotHave) {
  EXPECT_THROW(RunningFabric({{"web", {1}}}, {{"wbe", Wiring::vde}}), Error);
  RunningFabric fabric({{"web", {1}}});
  EXPECT_THROW(fabric.attachment("wbe"), Error);
}

TEST(Fabric, GivesStartScriptsVdeDirectoriesOfTheirOwnAndLeavesNothingBehind) {
  RunningFabric fabric({{"a", {1}}, {"b", {1, 2}}}, {{"a", Wiring::vde}, {"b", Wiring::vde}});
  fabric.start();
  auto a = fabric.attachment("a"), b = fabric.attachment("b");
  EXPECT_EQ(b.socket + b.interface, "");
  EXPECT_NE(a.vde, b.vde);
  for (auto* nic : {&a, &b}) EXPECT_TRUE(std::filesystem::is_socket(nic->vde + "/ctl"));
  fabric.stop();
  EXPECT_TRUE(std::filesystem::is_empty(fabric.dir()));
}

TEST(Fabric, AMachineAddedLaterJoinsTheOthers) {
  RunningFabric fabric({{"a", {1}}});
  fabric.start();
  auto a = fabric.join_stream("a");
  fabric.loop([](Fabric& f) {
    auto plan = f.plan();
    add_machine(plan, "late", {1, 2});
    f.extend(plan, {{"late", Wiring::stream}});
    f.start();
  });
  auto late = fabric.join_stream("late");
  late.send(frame(0xff, 2, "here I am"));
  EXPECT_EQ(next(a), frame(0xff, 2, "here I am"));
  fabric.join_stream("late", 1);
}

TEST(Fabric, AFaultHoldsUntilItIsTakenOff) {
  RunningFabric fabric({{"a", {1}}, {"b", {1}}});
  fabric.start();
  auto a = fabric.join_stream("a"), b = fabric.join_stream("b");
  auto number = fabric.loop(
      [](Fabric& f) { return f.add_fault(partition(f.plan(), {"a"}, {"b"}, {.one_way = true})); });
  a.send(frame(0xff, 1, "lost"));
  b.send(frame(0xff, 2, "the other way"));
  EXPECT_EQ(next(a), frame(0xff, 2, "the other way"));
  fabric.loop([&](Fabric& f) { f.remove_fault(number); });
  fabric.loop([&](Fabric& f) { f.remove_fault(number); });  // again: it is off
  a.send(frame(0xff, 1, "healed"));
  EXPECT_EQ(next(b), frame(0xff, 1, "healed"));
  auto stats = fabric.loop([](Fabric& f) { return f.stats("b", 1); });
  EXPECT_EQ(stats.faulted, 1u);
}

TEST(Fabric, FaultsAddUpAndHealInAnyOrder) {
  RunningFabric fabric({{"a", {1}}, {"b", {1}}});
  fabric.start();
  auto a = fabric.join_stream("a"), b = fabric.join_stream("b");
  auto isolated = [](Fabric& f) { return f.add_fault(isolate(f.plan(), "a", {})); };
  int first = fabric.loop(isolated), second = fabric.loop(isolated);
  fabric.loop([&](Fabric& f) { f.remove_fault(first); });
  auto before = fabric.received("a", 1);
  a.send(frame(0xff, 1, "still lost"));
  while (fabric.received("a", 1) == before) continue;
  fabric.loop([&](Fabric& f) { f.remove_fault(second); });
  a.send(frame(0xff, 1, "healed"));
  EXPECT_EQ(next(b), frame(0xff, 1, "healed"));
}

TEST(Fabric, AnUnpluggedMachineReachesNobodyUntilItIsPluggedInAgain) {
  RunningFabric fabric({{"a", {1}}, {"b", {1}}});
  fabric.start();
  auto a = fabric.join_stream("a"), b = fabric.join_stream("b");
  fabric.loop([](Fabric& f) { f.set_plugged("a", 1, false); });
  fabric.loop([](Fabric& f) { f.set_plugged("a", 1, false); });
  auto before = fabric.received("a", 1);
  a.send(frame(0xff, 1, "lost"));
  while (fabric.received("a", 1) == before) continue;
  fabric.loop([](Fabric& f) { f.set_plugged("a", 1, true); });
  a.send(frame(0xff, 1, "back"));
  EXPECT_EQ(next(b), frame(0xff, 1, "back"));
}

TEST(Fabric, ShowsWhatPassesUntilNobodyWatches) {
  RunningFabric fabric({{"a", {1}}, {"b", {1}}});
  fabric.start();
  auto a = fabric.join_stream("a"), b = fabric.join_stream("b");
  std::vector<std::pair<Member, std::string>> seen;
  int number = fabric.loop([&](Fabric& f) {
    return f.watch(1, [&](const Seen& s) { seen.emplace_back(s.from, std::string(s.frame)); });
  });
  a.send(frame(0xff, 1, "look"));
  EXPECT_EQ(next(b), frame(0xff, 1, "look"));
  fabric.loop([&](Fabric& f) { f.unwatch(1, number); });
  a.send(frame(0xff, 1, "unseen"));
  EXPECT_EQ(next(b), frame(0xff, 1, "unseen"));
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0], std::pair(1, frame(0xff, 1, "look")));
}

TEST(Fabric, WithoutANetworkOfItsOwnTheTestProcessIsNowhere) {
  RunningFabric fabric({{"a", {1}}});
  fabric.start();
  EXPECT_FALSE(fabric.loop([](Fabric& f) { return f.reaches(1); }));
  EXPECT_THAT(fabric.said(), IsEmpty());
}

}  // namespace
}  // namespace attest::net
