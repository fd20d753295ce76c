// Captures that a test begins, and those of whole runs.
#include "wire.h"

namespace attest::core {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

class Captures : public Wired {
 protected:
  fs::path artifact(const std::string& name) const { return dir.path() / "artifacts" / name; }
  static std::string content(const fs::path& path) { return base::read_file(path); }
};

TEST_F(Captures, HoldWhatPassesUntilTheyAreStopped) {
  wire({"a", "b"});
  auto packets = driver->network().vlan(1).capture("deep/down.pcapng");
  EXPECT_EQ(packets.path(), artifact("deep/down.pcapng"));
  send("a", "first of all");
  send("b", "second of all");
  packets.stop();
  EXPECT_EQ(packets.frames(), 2u);
  send("a", "third of all");
  packets.stop();
  EXPECT_EQ(packets.frames(), 2u);
  EXPECT_THAT(content(packets.path()), AllOf(HasSubstr("first of all"), HasSubstr("second of all"),
                                             Not(HasSubstr("third of all"))));
}

TEST_F(Captures, HoldWhatFaultsTakeAway) {
  wire({"a", "b"});
  auto split = driver->network().partition({"a"}, {"b"});
  auto packets = driver->network().vlan(1).capture("split.pcapng");
  send("a", "never arrives");
  packets.stop();
  EXPECT_THAT(content(packets.path()), AllOf(HasSubstr("never arrives"), HasSubstr("partition")));
}

TEST_F(Captures, HoldWhatWasHandedOverBeforeTheStop) {
  wire({"a", "b"});
  auto packets = driver->network().vlan(1).capture("late.pcapng");
  peers.at("a").send(net::frame(0xff, 1, "just before"));
  packets.stop();
  EXPECT_THAT(content(packets.path()), HasSubstr("just before"));
}

TEST_F(Captures, CanBeReadWhileTheyGrow) {
  wire({"a", "b"});
  auto packets = driver->network().vlan(1).capture("grows.pcapng");
  send("a", "to be seen");
  auto end = Deadline::after(20s);
  while (content(packets.path()).find("to be seen") == std::string::npos)
    ASSERT_FALSE(end.passed());
}

TEST_F(Captures, EndWithTheirScopeAndWithTheDriver) {
  wire({"a", "b"});
  {
    auto dropped = driver->network().vlan(1).capture("dropped.pcapng");
  }
  auto packets = driver->network().vlan(1).capture("kept.pcapng");
  send("a", "the last words");
  peers.clear();
  driver.reset();
  EXPECT_GE(packets.frames(), 1u);
  packets.stop();
  EXPECT_THAT(content(artifact("kept.pcapng")), HasSubstr("the last words"));
  EXPECT_THAT(content(artifact("dropped.pcapng")), Not(HasSubstr("the last words")));
}

TEST_F(Captures, TakeAbsolutePathsAsTheyAre) {
  make({"a"});
  auto path = dir.path() / "elsewhere" / "x";
  auto packets = driver->network().vlan(1).capture(path);
  EXPECT_EQ(packets.path(), path);
  EXPECT_TRUE(fs::exists(path));
}

TEST_F(Captures, SayWhereTheyCannotBeWritten) {
  make({"a"});
  base::write_file(dir.path() / "artifacts", "a file in the way");
  auto text = error_of(Error::Kind::host, [&] { (void)driver->network().vlan(1).capture("x"); });
  EXPECT_THAT(text, AllOf(HasSubstr("capturing VLAN 1")));
  text = error_of(Error::Kind::usage, [&] { (void)driver->network().vlan(1).capture(""); });
  EXPECT_THAT(text, HasSubstr("no file's name"));
}

struct Whole {
  const char* name;
  CaptureAll when;
  bool failed, kept;
};
class WholeRuns : public Captures, public testing::WithParamInterface<Whole> {};

TEST_P(WholeRuns, AreKeptAsAskedFor) {
  config.network.capture = GetParam().when;
  config.vlans = {2};
  wire({"a", "b"});
  send("a", "for the record");
  test_failed = GetParam().failed;
  peers.clear();
  driver.reset();
  EXPECT_EQ(fs::exists(artifact("vlan1.pcapng")), GetParam().kept);
  EXPECT_EQ(fs::exists(artifact("vlan2.pcapng")), GetParam().kept);
  EXPECT_FALSE(fs::exists(dir.path() / "vlan1.pcapng"));
  EXPECT_EQ(said("vlan1.pcapng").size(), GetParam().kept ? 1u : 0u);
  if (GetParam().kept) {
    EXPECT_THAT(content(artifact("vlan1.pcapng")), HasSubstr("for the record"));
  } else {
    EXPECT_FALSE(fs::exists(artifact("")));
  }
}

INSTANTIATE_TEST_SUITE_P(, WholeRuns,
                         testing::Values(Whole{"never", CaptureAll::never, true, false},
                                         Whole{"failed_and_it_has", CaptureAll::failed, true, true},
                                         Whole{"failed_and_it_has_not", CaptureAll::failed, false,
                                               false},
                                         Whole{"always", CaptureAll::always, false, true}),
                         [](const auto& one) { return one.param.name; });

TEST_F(Captures, DoNotWriteOverEachOther) {
  config.network.capture = CaptureAll::always;
  make({"a"});
  driver->start_all();
  EXPECT_THAT(error_of(Error::Kind::usage,
                       [&] { (void)driver->network().vlan(1).capture("vlan1.pcapng"); }),
              HasSubstr("another capture is writing"));
  auto other = config;
  Driver second(other, setup());
  second.start_all();
  EXPECT_TRUE(fs::exists(artifact("vlan1-2.pcapng")));
}

TEST_F(Captures, OfWholeRunsTakeVlansThatComeLater) {
  config.network.capture = CaptureAll::always;
  make({"a"});
  machine("a").start();
  MachineConfig added;
  added.backend = "fake";
  added.vlans = {7};
  driver->create_machine("third", added);
  driver.reset();
  EXPECT_TRUE(fs::exists(artifact("vlan7.pcapng")));
}

TEST_F(Captures, OfWholeRunsAreKeptWhenAnExceptionEndsTheDriver) {
  config.network.capture = CaptureAll::failed;
  try {
    for (auto* name : {"a"}) config.machines[name].backend = "fake";
    Driver inside(config, setup());
    inside.machine("a").start();
    throw std::runtime_error("a test's own");
  } catch (const std::runtime_error&) {
  }
  EXPECT_TRUE(fs::exists(artifact("vlan1.pcapng")));
}

}  // namespace
}  // namespace attest::core
