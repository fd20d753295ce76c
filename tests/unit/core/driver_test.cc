// The driver itself: names, what the host lacks, its end while others still use it.
#include "bed.h"
#include "lib/async/all.h"
#include "lib/core/machine_impl.h"

namespace attest::core {
namespace {

class TheDriver : public Bed {};

TEST_F(TheDriver, NamesTheNearestForAnUnknownBackend) {
  config.machines["web"].backend = "fqke";
  auto text = error_of(Error::Kind::usage, [&] { Driver(config, setup()); });
  EXPECT_THAT(text, AllOf(HasSubstr("there is no backend 'fqke'; there are: fake"),
                          HasSubstr("did you mean 'fake'?"), HasSubstr("machines.web.backend")));
}

TEST_F(TheDriver, NamesTheNearestForAnUnknownMachine) {
  make({"db", "server"});
  auto text = error_of(Error::Kind::usage, [&] { driver->machine("servr"); });
  EXPECT_THAT(text, AllOf(HasSubstr("there are: db, server"), HasSubstr("did you mean 'server'?")));
}

TEST_F(TheDriver, ListsEachCapabilityThatIsMissingOnce) {
  config.machines["a"].backend = config.machines["b"].backend = "one";
  config.machines["c"].backend = "two";
  config.machines["d"].backend = "fake";
  auto chosen = setup();
  chosen.backends["one"].missing = [](auto&) { return Missing{"kvm", "no /dev/kvm"}; };
  chosen.backends["two"].missing = [](auto&) { return Missing{"tun", "no /dev/net/tun"}; };
  Driver lacking(config, chosen);
  auto missing = lacking.missing();
  ASSERT_EQ(missing.size(), 2u);
  EXPECT_EQ(missing[0].capability, "kvm");
  EXPECT_EQ(missing[1].capability, "tun");
}

TEST_F(TheDriver, EndsACommandThatAnotherThreadHasUnderWay) {
  make({"web"});
  auto command = busy(machine("web"));
  driver.reset();
  EXPECT_THAT(command.get(), HasSubstr("machine 'web' is gone: its driver ended"));
}

TEST_F(TheDriver, EndsABootThatAnotherThreadHasUnderWay) {
  make({"web"});
  fakes.behave("web", {.boot_hangs = true});
  auto& web = machine("web");
  auto start = aside([&] { web.start(); });
  ASSERT_TRUE(fakes.wait_for_boots("web"));
  driver.reset();
  EXPECT_THAT(start.get(), HasSubstr("its driver ended"));
}

Task<void> swallowed(Task<void> task, int& errors) {
  try {
    co_await std::move(task);
  } catch (const Error&) {
    ++errors;
  }
}

// On the loop directly, where the order of calls is certain.
TEST_F(TheDriver, EndsWithoutBootingForThoseWhoWaitInLine) {
  config.machines["web"].backend = "fake";
  fakes.behave("web", {.boot_waits = true});
  Fleet fleet(config, setup(), net::make_plan({{"web", {}}}, {}));
  Machine::Impl web("web", config.machines["web"], fleet);
  int errors = 0;
  std::vector<Task<void>> calls;
  calls.push_back(swallowed(web.start(), errors));
  calls.push_back(swallowed(web.start(), errors));
  calls.push_back(swallowed(web.shutdown(), errors));
  calls.push_back(web.close());
  calls.push_back(swallowed(web.start(), errors));
  for (auto& failure : fleet.loop.run(async::all(std::move(calls)))) EXPECT_FALSE(failure);
  EXPECT_EQ(errors, 3);
  EXPECT_LE(fakes.boots("web"), 1);
}

TEST_F(TheDriver, TwoAtOnceDoNotMeet) {
  make({"web"});
  base::TempDir other_dir;
  auto other_setup = setup();
  fakes::FakeBackends other_fakes;
  other_setup.backends = other_fakes.backends();
  other_setup.work_dir = other_dir.path();
  Driver other(config, other_setup);
  auto there = aside([&] { other.machine("web").succeed("true"); });
  EXPECT_EQ(machine("web").succeed("echo here"), "here\n");
  EXPECT_EQ(there.get(), "");
  driver.reset();
  EXPECT_EQ(other.machine("web").succeed("echo there"), "there\n");
}

TEST_F(TheDriver, KeepsConsoleLogsWhereAsked) {
  config.machines["web"].backend = "fake";
  auto chosen = setup();
  chosen.output = dir.path() / "out";
  driver = std::make_unique<Driver>(config, chosen);
  machine("web").start();
  fakes.print("web", "a line\nand a half");
  EXPECT_EQ(base::read_file(dir.path() / "out/web/console.log"), "a line\nand a half");
  EXPECT_EQ(machine("web").get_console_log(), "a line\n");
}

}  // namespace
}  // namespace attest::core
