#include "lib/net/fabric.h"

#include "lib/async/child.h"
#include "lib/base/file.h"
#include "tests/unit/net/peer.h"

#include <gmock/gmock.h>

#include <cstdlib>

namespace attest::net {
namespace {
using namespace std::chrono_literals;
using testing::HasSubstr;

std::map<std::string, Wiring> wirings(const std::set<std::string>& vde) {
  std::map<std::string, Wiring> all;
  for (auto& name : vde) all[name] = Wiring::vde;
  return all;
}

bool has_vde() { return !async::find_program("vde_switch").empty(); }

// Owns the fabric's life on the loop thread, as a driver does.
class FabricTest : public testing::Test {
 protected:
  ~FabricTest() override {
    on_loop(loop_, [&] {
      fabric_.reset();
      return 0;
    });
  }
  Fabric& make(const std::map<std::string, std::vector<int>>& machines,
               const std::set<std::string>& vde = {}) {
    fabric_ = std::make_unique<Fabric>(loop_.executor(), make_plan(machines, {4}), wirings(vde),
                                       FabricSetup{dir_.path(), false});
    return *fabric_;
  }

  base::TempDir dir_;
  async::Loop loop_;
  std::unique_ptr<Fabric> fabric_;
};

TEST_F(FabricTest, GivesEachMachineASwitchPerVlanThatItCanJoinOnceStarted) {
  auto& fabric = make({{"a", {1, 2}}, {"b", {2}}});
  auto a = fabric.attachments("a"), b = fabric.attachments("b");
  ASSERT_EQ(a.size(), 2u);
  EXPECT_EQ(a[0].vlan, 1);
  EXPECT_EQ(a[1].mac, "52:54:00:12:02:01");
  EXPECT_EQ(a[1].ipv4, "192.168.2.1");
  EXPECT_EQ(a[1].ipv6, "2001:db8:2::1");
  EXPECT_EQ(a[1].vde, "");
  EXPECT_EQ(a[1].socket, b[0].socket);
  EXPECT_NE(a[0].socket, a[1].socket);
  EXPECT_EQ(fabric.in_process(1), nullptr) << "nothing is made before start()";

  loop_.run(fabric.start(Deadline::after(10s)));
  EXPECT_NE(fabric.in_process(4), nullptr) << "a VLAN without machines exists too";
  EXPECT_EQ(fabric.in_process(3), nullptr);

  Peer first(base::connect_unix(a[1].socket)), second(base::connect_unix(b[0].socket));
  // A frame for a peer that is not accepted yet would be lost.
  while (on_loop(loop_, [&] { return fabric.in_process(2)->stats().ports.size(); }) < 2) continue;
  first.send(frame(0xff, 1, "from a"));
  EXPECT_EQ(second.receive(), frame(0xff, 1, "from a"));
}

TEST_F(FabricTest, RefusesAVlanWithStartScriptsAndOthers) {
  try {
    make({{"new", {1, 2}}, {"old", {2}}}, {"old"});
    FAIL() << "it was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::unsupported);
    EXPECT_THAT(error.what(), HasSubstr("VLAN 2 "));
    EXPECT_THAT(error.what(), HasSubstr("'old'"));
    EXPECT_THAT(error.what(), HasSubstr("'new'"));
  }
}

TEST_F(FabricTest, LeavesNothingWhenOneSwitchFailsAndCanBeStartedAgain) {
  auto& fabric = make({{"a", {1, 2}}});
  std::filesystem::create_directory(dir_.path() / "vlan2.sock");
  try {
    loop_.run(fabric.start(Deadline::after(10s)));
    FAIL() << "it was started";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::host);
    EXPECT_THAT(error.what(), HasSubstr("vlan2.sock"));
    EXPECT_THAT(error.what(), HasSubstr("while setting up VLAN 2"));
  }
  EXPECT_FALSE(std::filesystem::exists(dir_.path() / "vlan1.sock"));
  std::filesystem::remove(dir_.path() / "vlan2.sock");
  loop_.run(fabric.start(Deadline::after(10s)));
  Peer(base::connect_unix(fabric.attachments("a")[1].socket)).close();
}

TEST_F(FabricTest, RefusesMachinesThatThePlanDoesNotHave) {
  EXPECT_THROW(make({{"web", {1}}}, {"wbe"}), Error);
  EXPECT_THROW(make({{"web", {1}}}).attachments("wbe"), Error);
}

TEST_F(FabricTest, RunsAVdeSwitchForStartScriptsAndLeavesNothingBehind) {
  if (!has_vde()) GTEST_SKIP() << "vde_switch is not installed (apt install vde2)";
  auto& fabric = make({{"a", {1}}, {"b", {1, 2}}}, {"a", "b"});
  loop_.run(fabric.start(Deadline::after(30s)));
  loop_.run(fabric.start(Deadline::after(30s)));  // again: nothing to do
  auto b = fabric.attachments("b");
  EXPECT_EQ(b[0].socket, "");
  EXPECT_EQ(b[0].vde, fabric.attachments("a")[0].vde);
  for (auto& attachment : b) EXPECT_TRUE(std::filesystem::is_socket(attachment.vde + "/ctl"));
  EXPECT_EQ(fabric.in_process(1), nullptr);
  on_loop(loop_, [&] {
    fabric_.reset();
    return 0;
  });
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
}

// Starts a switch in the coroutine's own scope, so that it also ends on the loop.
Task<std::string> start_and_stop(std::filesystem::path dir) {
  auto made = co_await VdeSwitch::start(dir, Deadline::after(30s));
  co_return made->dir().string() +
      (std::filesystem::is_socket(dir / "ctl") ? " is there" : " is missing");
}

std::string failure_of(async::Loop& loop, std::filesystem::path dir) {
  try {
    loop.run(start_and_stop(std::move(dir)));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::host);
    return error.what();
  }
  return "none";
}

TEST(VdeSwitch, TakesTheDirectoryOfOneThatWasKilled) {
  if (!has_vde()) GTEST_SKIP() << "vde_switch is not installed (apt install vde2)";
  base::TempDir dir;
  async::Loop loop;
  auto path = dir.path() / "vde1.ctl";
  std::filesystem::create_directory(path);
  base::write_file(path / "ctl", "stale");
  EXPECT_EQ(loop.run(start_and_stop(path)), path.string() + " is there");
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(VdeSwitch, SaysWhyItDidNotStart) {
  if (!has_vde()) GTEST_SKIP() << "vde_switch is not installed (apt install vde2)";
  async::Loop loop;
  auto text = failure_of(loop, "/no/such/place/vde1.ctl");
  EXPECT_THAT(text, HasSubstr("ended before it was ready"));
  EXPECT_THAT(text, HasSubstr("No such file or directory"));
}

TEST(VdeSwitch, NamesThePackageIfItIsMissing) {
  std::string before = std::getenv("PATH");
  ::setenv("PATH", "/nowhere", 1);
  async::Loop loop;
  base::TempDir dir;
  auto text = failure_of(loop, dir.path() / "vde1.ctl");
  ::setenv("PATH", before.c_str(), 1);
  EXPECT_THAT(text, HasSubstr("'vde_switch' was not found"));
  EXPECT_THAT(text, HasSubstr("apt install vde2"));
}

}  // namespace
}  // namespace attest::net
