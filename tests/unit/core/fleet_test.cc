// Machines that come later, wishes to reboot, conditions that must hold.
#include "bed.h"

#include <atomic>

namespace attest::core {
namespace {

class Later : public Bed {};

MachineConfig fake() {
  MachineConfig config;
  config.backend = "fake";
  return config;
}

TEST_F(Later, AMachineCanBeAddedAndIsLikeTheOthers) {
  make({"db", "web"});
  driver->start_all();
  auto& third = driver->create_machine("aside", fake());
  EXPECT_FALSE(third.is_up());
  EXPECT_EQ(third.succeed("echo here"), "here\n");
  EXPECT_EQ(&driver->machine("aside"), &third);
  EXPECT_EQ(driver->machines().size(), 3u);
  EXPECT_TRUE(driver->config().machines.contains("aside"));
}

TEST_F(Later, ItsNumberFollowsThoseOfTheConfig) {
  make({"db", "web"});
  driver->create_machine("aside", fake()).start();
  auto& plan = fakes.context("aside");
  ASSERT_EQ(plan.network.size(), 1u);
  EXPECT_EQ(plan.network[0].ipv4, "192.168.1.3");
  EXPECT_TRUE(std::filesystem::exists(plan.network[0].socket));
}

TEST_F(Later, ItMayBringAVlanOfItsOwn) {
  make({"web"});
  driver->start_all();
  auto added = fake();
  added.vlans = {7};
  driver->create_machine("aside", added).start();
  EXPECT_TRUE(std::filesystem::exists(fakes.context("aside").network.at(0).socket));
}

TEST_F(Later, ABadOneIsRefused) {
  make({"web"});
  auto text = error_of(Error::Kind::usage, [&] { driver->create_machine("web", fake()); });
  EXPECT_THAT(text, HasSubstr("there is a machine 'web' already"));
  error_of(Error::Kind::usage, [&] { driver->create_machine("No Name", fake()); });
  auto added = fake();
  added.backend = "fak";
  text = error_of(Error::Kind::usage, [&] { driver->create_machine("aside", added); });
  EXPECT_THAT(text, HasSubstr("did you mean 'fake'?"));
  added = fake();
  added.vlans = {300};
  error_of(Error::Kind::usage, [&] { driver->create_machine("aside", added); });
  EXPECT_EQ(driver->machines().size(), 1u);
}

TEST_F(Later, SeveralThreadsMayAddMachines) {
  make({"web"});
  std::vector<std::future<std::string>> calls;
  for (int i = 0; i < 8; ++i)
    calls.push_back(
        aside([&, i] { driver->create_machine("m" + std::to_string(i), fake()).succeed("true"); }));
  for (auto& call : calls) EXPECT_EQ(call.get(), "");
  EXPECT_EQ(driver->machines().size(), 9u);
}

TEST_F(Later, JoinAllWaitsForEachAndJoinsTheErrors) {
  make({"db", "web"});
  driver->join_all();  // none runs
  driver->start_all();
  auto wait = aside([&] { driver->join_all(); });
  fakes.end("db", {.orderly = true, .cause = "it powered off"});
  fakes.end("web", {.orderly = true, .cause = "it powered off"});
  EXPECT_EQ(wait.get(), "");
  driver->start_all();
  wait = aside([&] { driver->join_all(); });
  fakes.end("db", {.orderly = false, .cause = "it fell"});
  fakes.end("web", {.orderly = false, .cause = "it burned"});
  EXPECT_THAT(wait.get(), AllOf(HasSubstr("2 of 2 machines did not power off by themselves"),
                                HasSubstr("it fell"), HasSubstr("it burned")));
}

TEST_F(Later, ARebootBootsAnew) {
  make({"web"});
  machine("web").succeed("echo kept >/tmp/mark");
  machine("web").reboot();
  EXPECT_TRUE(machine("web").is_up());
  EXPECT_EQ(fakes.boots("web"), 2);
}

TEST_F(Later, KeptStateNeedsAPlace) {
  config.machines["web"] = fake();
  config.machines["web"].keep_machine_state = true;
  driver = std::make_unique<Driver>(config, setup());
  auto text = error_of(Error::Kind::usage, [&] { machine("web").start(); });
  EXPECT_THAT(text, AllOf(HasSubstr("keep_machine_state"), HasSubstr("--attest_output")));
  auto chosen = setup();
  chosen.output = dir.path() / "out";
  driver = std::make_unique<Driver>(config, chosen);
  machine("web").start();
  EXPECT_EQ(fakes.context("web").state_dir, dir.path() / "out/web/state");
  EXPECT_TRUE(std::filesystem::is_directory(dir.path() / "out/web/state"));
}

class Conditions : public Bed {};

TEST_F(Conditions, AreLookedAtWhenOverdue) {
  make({"web"});
  std::atomic<int> looks = 0;
  auto condition =
      polling_condition([&] { return ++looks > 0; }, {.interval = 0ms, .description = "it looks"});
  machine("web").succeed("true");
  EXPECT_EQ(looks, 0);
  {
    auto held = driver->hold(condition);
    machine("web").succeed("true");
    machine("web").succeed("true");
    EXPECT_EQ(looks, 2);
  }
  machine("web").succeed("true");
  EXPECT_EQ(looks, 2);
}

TEST_F(Conditions, AreNotLookedAtBeforeTheirInterval) {
  make({"web"});
  std::atomic<int> looks = 0;
  auto held = driver->hold(polling_condition([&] { return ++looks > 0; }, {.interval = 1h}));
  for (int i = 0; i < 5; ++i) machine("web").succeed("true");
  EXPECT_EQ(looks, 1);
}

TEST_F(Conditions, ThatDoNotHoldFailTheOperation) {
  make({"web"});
  auto held =
      driver->hold(polling_condition([] { return false; }, {.description = "the sun shines"}));
  auto text = error_of(Error::Kind::guest, [&] { machine("web").succeed("true"); });
  EXPECT_THAT(text, HasSubstr("polling condition failed: the sun shines"));
  error_of(Error::Kind::guest, [&] { machine("web").succeed("true"); });  // again, at once
}

TEST_F(Conditions, MayUseMachinesAndMayThrow) {
  make({"web"});
  auto held =
      driver->hold(polling_condition([&] { return !machine("web").succeed("exit 3").empty(); },
                                     {.interval = 0ms, .description = "it runs"}));
  auto text = error_of(Error::Kind::guest, [&] { machine("web").succeed("true"); });
  EXPECT_THAT(text,
              AllOf(HasSubstr("polling condition failed: it runs"), HasSubstr("exit code 3")));
}

TEST_F(Conditions, CanBeWaitedFor) {
  int looks = 0;
  auto condition = polling_condition([&] { return ++looks == 3; }, {.description = "three"});
  condition.wait();
  EXPECT_EQ(looks, 3);
  auto never = polling_condition([]() -> bool { throw std::runtime_error("no way"); },
                                 {.description = "never"});
  auto text = error_of(Error::Kind::timeout, [&] { never.wait({.timeout = 50ms}); });
  EXPECT_THAT(text, AllOf(HasSubstr("never did not come true"), HasSubstr("no way")));
}

TEST_F(Conditions, MayOutliveTheDriver) {
  make({"web"});
  auto held = driver->hold(polling_condition([] { return true; }));
  driver.reset();
}

}  // namespace
}  // namespace attest::core
