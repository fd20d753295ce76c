// Faults as a test has them: on, off, out of scope, and longer than what they are about.
#include "wire.h"

#include <gtest/gtest-spi.h>

#include <stdexcept>

namespace attest::core {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Faults : public Wired {};

TEST_F(Faults, HoldForAScope) {
  wire({"a", "b", "c"});
  {
    auto split = driver->network().partition({"a"}, {"b"});
    EXPECT_TRUE(split.active());
    EXPECT_FALSE(passes("a", "b"));
    EXPECT_FALSE(passes("b", "a"));
    EXPECT_TRUE(passes("a", "c"));
    EXPECT_TRUE(passes("c", "b"));
  }
  EXPECT_TRUE(passes("a", "b"));
  EXPECT_TRUE(passes("b", "a"));
}

TEST_F(Faults, AreHealedWhenTheScopeIsLeftByAnException) {
  wire({"a", "b"});
  try {
    auto split = driver->network().partition({"a"}, {"b"});
    throw std::runtime_error("a test's own");
  } catch (const std::runtime_error&) {
  }
  EXPECT_TRUE(passes("a", "b"));
}

void fail_inside(Driver& driver, bool& was_active) {
  auto split = driver.network().partition({"a"}, {"b"});
  was_active = split.active();
  ASSERT_TRUE(false);
}

TEST_F(Faults, AreHealedWhenAnAssertionFails) {
  wire({"a", "b"});
  static bool was_active = false;
  static Driver* here = nullptr;
  here = driver.get();
  EXPECT_FATAL_FAILURE(fail_inside(*here, was_active), "false");
  EXPECT_TRUE(was_active);
  EXPECT_TRUE(passes("a", "b"));
}

TEST_F(Faults, CanBeSwitched) {
  wire({"a", "b"});
  auto cut = driver->network().link("a").cut(Direction::to_machine);
  EXPECT_FALSE(passes("b", "a"));
  EXPECT_TRUE(passes("a", "b"));
  cut.heal();
  cut.heal();
  EXPECT_FALSE(cut.active());
  EXPECT_TRUE(passes("b", "a"));
  cut.apply();
  cut.apply();
  EXPECT_TRUE(cut.active());
  EXPECT_FALSE(passes("b", "a"));
  EXPECT_GT(stats("a").faulted, 0u);
}

TEST_F(Faults, AddUpAndGoInAnyOrder) {
  wire({"a", "b", "c"});
  auto alone = std::make_unique<Fault>(driver->network().isolate("a"));
  auto split = std::make_unique<Fault>(driver->network().partition({"a", "c"}, {"b"}));
  EXPECT_FALSE(passes("a", "c"));
  alone.reset();
  EXPECT_TRUE(passes("a", "c"));
  EXPECT_FALSE(passes("a", "b"));
  split.reset();
  EXPECT_TRUE(passes("a", "b"));
}

TEST_F(Faults, MoveWithTheirHandle) {
  wire({"a", "b"});
  Fault kept;
  EXPECT_FALSE(kept.active());
  kept.heal();
  error_of(Error::Kind::usage, [&] { kept.apply(); });
  {
    auto split = driver->network().partition({"a"}, {"b"});
    kept = std::move(split);
  }
  EXPECT_TRUE(kept.active());
  EXPECT_FALSE(passes("a", "b"));
  kept = driver->network().partition({"a"}, {"b"}, {.one_way = true});  // the first is healed
  EXPECT_FALSE(passes("a", "b"));
  EXPECT_TRUE(passes("b", "a"));
  kept = Fault();
  EXPECT_TRUE(passes("a", "b"));
}

TEST_F(Faults, OutliveMachinesAndTheDriver) {
  wire({"a", "b"});
  auto split = driver->network().partition({"a"}, {"b"});
  auto slow = driver->network().link("a").impair({.delay = 1ms});
  machine("a").crash();
  EXPECT_TRUE(split.active());
  driver.reset();
  EXPECT_FALSE(split.active());
  EXPECT_FALSE(slow.active());
  split.heal();
  error_of(Error::Kind::usage, [&] { split.apply(); });
}

TEST_F(Faults, ComeBeforeTheFirstMachineIsUp) {
  make({"a", "b"});
  auto split = driver->network().partition({"a"}, {"b"});
  EXPECT_TRUE(split.active());
  driver->start_all();
  EXPECT_TRUE(split.active());
}

TEST_F(Faults, AreSafeFromSeveralThreads) {
  wire({"a", "b"});
  auto shared = driver->network().partition({"a"}, {"b"});
  std::vector<std::future<std::string>> calls;
  for (int i = 0; i < 8; ++i)
    calls.push_back(aside([&, i] {
      for (int round = 0; round < 20; ++round) {
        auto own = driver->network().link(i % 2 ? "a" : "b").impair({.mtu = 1000 + i});
        i % 2 ? shared.heal() : shared.apply();
      }
    }));
  for (auto& call : calls) EXPECT_EQ(call.get(), "");
  shared.heal();
  EXPECT_TRUE(passes("a", "b"));
}

TEST_F(Faults, EndWithADriverThatEndsMeanwhile) {
  for (int round = 0; round < 10; ++round) {
    make({"a", "b"});
    auto split = std::make_unique<Fault>(driver->network().partition({"a"}, {"b"}));
    auto healing = aside([&] { split.reset(); });
    driver.reset();
    EXPECT_EQ(healing.get(), "");
  }
}

TEST_F(Faults, SayWhatIsWrongAndWhere) {
  make({"a", "b"});
  auto text = error_of(Error::Kind::usage, [&] { (void)driver->network().isolate("aa"); });
  EXPECT_THAT(text, AllOf(HasSubstr("there is no member 'aa'")));
  text = error_of(Error::Kind::usage, [&] { driver->network().link("a", 9); });
  EXPECT_THAT(text, AllOf(HasSubstr("there is no VLAN 9")));
  text = error_of(Error::Kind::usage, [&] { driver->network().vlan(9); });
  EXPECT_THAT(text, HasSubstr("there is no VLAN 9; there is: VLAN 1"));
  text =
      error_of(Error::Kind::usage, [&] { (void)driver->network().link("a").impair({.loss = 2}); });
  EXPECT_THAT(text, AllOf(HasSubstr("no probability")));
}

TEST_F(Faults, SayWhereTheyWereAskedFor) {
  make({"a", "b"});
  int line = 0;
  try {
    line = __LINE__ + 1;
    auto split = driver->network().partition({"a"}, {"a"});
    FAIL() << "it was accepted";
  } catch (const Error& e) {
    EXPECT_EQ(static_cast<int>(e.where().line()), line);
    EXPECT_THAT(e.where().file_name(), HasSubstr("fault_test.cc"));
  }
}

TEST_F(Faults, FindTheFirstVlanOfALink) {
  config.machines["a"].vlans = {3, 1};
  make({"a", "b"});
  EXPECT_EQ(driver->network().link("a").vlan(), 3);
  EXPECT_EQ(driver->network().link("a", 1).vlan(), 1);
  EXPECT_EQ(driver->network().link("b").machine(), "b");
  EXPECT_EQ(driver->network().vlan(3).number(), 3);
}

TEST_F(Faults, TellTheSeedOnceWhenThereAreChoices) {
  config.network.seed = 4711;
  wire({"a", "b"});
  auto network = driver->network();
  EXPECT_EQ(network.seed(), 4711u);
  auto split = network.partition({"a"}, {"b"});
  auto slow = network.link("a").impair({.delay = 1ms});
  EXPECT_THAT(said("seed"), IsEmpty());
  auto lossy = network.link("a").impair({.loss = 0.5});
  auto jumpy = network.link("a").impair({.jitter = 1ms});
  EXPECT_THAT(said("seed"),
              ElementsAre("network seed 4711 (network.seed=4711 repeats the choices of faults)"));
}

TEST_F(Faults, HaveASeedOfTheirOwnWithoutOne) {
  make({"a"});
  auto first = driver->network().seed();
  EXPECT_GT(first, 0u);
  make({"a"});
  auto second = driver->network().seed();
  make({"a"});
  EXPECT_FALSE(first == second && second == driver->network().seed());
}

TEST_F(Faults, CountWithMachinesThatCameLater) {
  wire({"a", "b"});
  MachineConfig added;
  added.backend = "fake";
  driver->create_machine("third", added);
  auto split = driver->network().partition({"a"}, {"b", "third"});
  EXPECT_FALSE(passes("a", "b"));
}

}  // namespace
}  // namespace attest::core
