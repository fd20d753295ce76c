// Addresses, and cables that are pulled and plugged.
#include "wire.h"

namespace attest::core {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Cables : public Wired {};

TEST_F(Cables, LeadToAddresses) {
  config.machines["a"].vlans = {3, 1};
  make({"a", "b"});
  EXPECT_EQ(machine("a").address(), "192.168.3.1");
  EXPECT_EQ(machine("a").address(1), "192.168.1.1");
  EXPECT_EQ(machine("b").address6(), "2001:db8:1::2");
  auto text = error_of(Error::Kind::usage, [&] { (void)machine("b").address(3); });
  EXPECT_THAT(text, AllOf(HasSubstr("'b' is not on VLAN 3, it is on VLAN 1"),
                          HasSubstr("using machine 'b'")));
  error_of(Error::Kind::usage, [&] { (void)machine("b").address(200); });
}

TEST_F(Cables, AreNotThereWithoutAVlan) {
  config.machines["a"].vlans = {};
  make({"a", "b"});
  auto text = error_of(Error::Kind::unsupported, [&] { (void)machine("a").address(); });
  EXPECT_THAT(text, HasSubstr("machine 'a' joins no VLAN of ours"));
  error_of(Error::Kind::unsupported, [&] { machine("a").block(); });
  error_of(Error::Kind::unsupported, [&] { (void)driver->network().isolate("a"); });
  error_of(Error::Kind::unsupported, [&] { driver->network().link("a"); });
}

TEST_F(Cables, LetNothingPassUntilTheyArePluggedAgain) {
  wire({"a", "b", "c"});
  machine("a").block();
  machine("a").block();
  EXPECT_FALSE(passes("b", "a"));
  EXPECT_TRUE(passes("b", "c"));
  EXPECT_EQ(machine("a").succeed("echo here"), "here\n");
  machine("a").unblock();
  EXPECT_TRUE(passes("b", "a"));
  EXPECT_TRUE(passes("a", "b"));
  auto text = error_of(Error::Kind::usage, [&] { machine("a").block(9); });
  EXPECT_THAT(text, AllOf(HasSubstr("there is no VLAN 9")));
}

TEST_F(Cables, AreSeenByTheRunningGuest) {
  config.machines["a"].vlans = {1, 2};
  make({"a"});
  fakes.behave("a", {.has_links = true});
  machine("a").start();
  EXPECT_THAT(fakes.links("a"), IsEmpty());
  machine("a").block(2);
  machine("a").block();
  machine("a").unblock(1);
  EXPECT_THAT(fakes.links("a"), ElementsAre("-2", "-1", "-2", "+1"));
}

TEST_F(Cables, StayUnpluggedOverBoots) {
  config.machines["a"].vlans = {1, 2};
  make({"a"});
  fakes.behave("a", {.has_links = true});
  machine("a").block(2);
  EXPECT_FALSE(machine("a").is_up());
  EXPECT_THAT(fakes.links("a"), IsEmpty());
  machine("a").start();
  EXPECT_THAT(fakes.links("a"), ElementsAre("-2"));
  machine("a").reboot();
  EXPECT_THAT(fakes.links("a"), ElementsAre("-2", "-2"));
  machine("a").crash();
  machine("a").unblock();
  machine("a").start();
  EXPECT_THAT(fakes.links("a"), ElementsAre("-2", "-2"));
}

TEST_F(Cables, CanBePulledWhileTheMachineBoots) {
  make({"a"});
  fakes.behave("a", {.boot_waits = true, .has_links = true});
  auto start = aside([&] { machine("a").start(); });
  ASSERT_TRUE(fakes.wait_for_boots("a"));
  machine("a").block();
  fakes.let_boot("a");
  EXPECT_EQ(start.get(), "");
  EXPECT_THAT(fakes.links("a"), ElementsAre("-1"));
}

TEST_F(Cables, ArePulledFromSeveralThreads) {
  make({"a", "b"});
  for (auto* name : {"a", "b"}) fakes.behave(name, {.has_links = true});
  driver->start_all();
  std::vector<std::future<std::string>> calls;
  for (int i = 0; i < 8; ++i)
    calls.push_back(aside([&, i] {
      auto& one = machine(i % 2 ? "a" : "b");
      for (int round = 0; round < 10; ++round) i % 4 < 2 ? one.block() : one.unblock();
    }));
  for (auto& call : calls) EXPECT_EQ(call.get(), "");
}

}  // namespace
}  // namespace attest::core
