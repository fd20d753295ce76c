#include "lib/net/fabric.h"

#include "lib/base/file.h"
#include "tests/unit/net/own_network.h"
#include "tests/unit/net/peer.h"

#include <gmock/gmock.h>

#include <chrono>
#include <set>

namespace attest::net {
namespace {
using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// Owns the fabric's life on a loop thread in the test's namespace, as a driver does.
class Running {
 public:
  explicit Running(const std::map<std::string, std::vector<int>>& containers,
                   const std::vector<int>& extra_vlans = {}, bool own_network = true) {
    std::map<std::string, Wiring> wirings;
    for (auto& [name, vlans] : containers) wirings[name] = Wiring::veth;
    fabric_ = std::make_unique<Fabric>(loop_.executor(), make_plan(containers, extra_vlans),
                                       wirings, FabricSetup{dir_.path(), own_network});
  }
  ~Running() { stop(); }

  Fabric* operator->() { return fabric_.get(); }
  void start() { loop_.run(fabric_->start(Deadline::after(10s))); }
  void stop() {
    on_loop(loop_, [&] {
      fabric_.reset();
      return 0;
    });
  }

 private:
  base::TempDir dir_;
  async::Loop loop_;
  std::unique_ptr<Fabric> fabric_;
};

using FabricBridgeTest = OwnNetwork;

// A container's side of an attachment, with its address.
Udp join(const NetworkAttachment& attachment, const base::Fd& guest) {
  Netlink().make_veth({.host_name = attachment.interface,
                       .bridge = attachment.bridge,
                       .guest_mac = attachment.mac,
                       .guest_netns = guest.get()});
  std::optional<Udp> socket;
  in_netns(guest, [&] {
    Netlink inside;
    inside.set_up("eth0");
    inside.add_address("eth0", attachment.ipv4, 24);
    socket.emplace(attachment.ipv4);
  });
  return std::move(*socket);
}

TEST_F(FabricBridgeTest, ContainersReachEachOtherAndTheTestOnTheirVlan) {
  Running fabric({{"a", {3}}, {"b", {3}}});
  fabric.start();
  fabric.start();  // again: nothing to do
  auto a = fabric->attachments("a").at(0), b = fabric->attachments("b").at(0);
  EXPECT_EQ(a.bridge, b.bridge);
  EXPECT_NE(a.interface, b.interface);
  EXPECT_EQ(a.socket + a.vde, "");
  EXPECT_EQ(fabric->in_process(3), nullptr);

  auto in_a = make_netns(), in_b = make_netns();
  auto from_a = join(a, in_a), from_b = join(b, in_b);
  EXPECT_TRUE(from_a.reaches(from_b, "from a to b"));
  Udp us(make_nic(3, test_process_node).ipv4);
  EXPECT_TRUE(from_b.reaches(us, "from b to the test"));
  EXPECT_TRUE(us.reaches(from_a, "from the test to a"));
}

TEST_F(FabricBridgeTest, ItsEndLeavesNothingEvenWithLinksPluggedIn) {
  auto guest = make_netns();
  Running fabric({{"a", {1, 2}}});
  fabric.start();
  auto all = fabric->attachments("a");
  EXPECT_THAT(Netlink().names("at"), UnorderedElementsAre(all[0].bridge, all[1].bridge));
  auto socket = join(all[0], guest);
  fabric.stop();
  EXPECT_THAT(Netlink().names(), ElementsAre("lo"));
}

TEST_F(FabricBridgeTest, TwoFabricsAtOnceDoNotMeet) {
  Running one({{"a", {1}}}), two({{"a", {1}}});
  one.start();
  auto a = one->attachments("a").at(0), b = two->attachments("a").at(0);
  EXPECT_NE(a.bridge, b.bridge);
  EXPECT_NE(a.interface, b.interface);
  two.start();
  auto guest_a = make_netns(), guest_b = make_netns();
  auto from_a = join(a, guest_a), from_b = join(b, guest_b);
  EXPECT_THAT(Netlink().names("at"),
              UnorderedElementsAre(a.bridge, b.bridge, a.interface, b.interface));
  one.stop();
  EXPECT_THAT(Netlink().names("at"), UnorderedElementsAre(b.bridge, b.interface));
}

TEST_F(FabricBridgeTest, AVlanWithoutContainersStaysInThisProcess) {
  Running fabric({{"a", {1}}}, {4});
  fabric.start();
  EXPECT_NE(fabric->in_process(4), nullptr);
  EXPECT_THAT(Netlink().names("at"), ElementsAre(fabric->attachments("a").at(0).bridge));
}

TEST_F(FabricBridgeTest, AFailureOfOneUndoesTheOthersAndItCanBeStartedAgain) {
  Running fabric({{"a", {1, 2}}});
  auto all = fabric->attachments("a");
  Netlink netlink;
  netlink.make_bridge(all[1].bridge, "52:54:00:00:00:01");
  try {
    fabric.start();
    FAIL() << "it was started";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::host);
    EXPECT_THAT(error.what(), HasSubstr("making the bridge '" + all[1].bridge + "': File exists"));
    EXPECT_THAT(error.what(), HasSubstr("while setting up VLAN 2"));
  }
  EXPECT_THAT(netlink.names("at"), ElementsAre(all[1].bridge)) << "only what was there before";
  netlink.remove(all[1].bridge);
  fabric.start();
  EXPECT_THAT(netlink.names("at"), UnorderedElementsAre(all[0].bridge, all[1].bridge));
}

TEST_F(FabricBridgeTest, AMachineAddedLaterGetsABridgeOfItsOwn) {
  Running fabric({{"a", {1}}});
  fabric.start();
  auto plan = fabric->plan();
  add_machine(plan, "late", {1, 2});
  fabric->extend(plan, {{"late", Wiring::veth}});
  fabric.start();
  auto late = fabric->attachments("late");
  EXPECT_EQ(late[0].bridge, fabric->attachments("a").at(0).bridge);
  EXPECT_THAT(Netlink().names("at"), UnorderedElementsAre(late[0].bridge, late[1].bridge));
}

TEST(FabricBridge, IsRefusedInTheHostsOwnNetwork) {
  try {
    Running fabric({{"web", {1}}}, {}, false);
    FAIL() << "it was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::unsupported);
    EXPECT_THAT(error.what(), HasSubstr("VLAN 1 of 'web'"));
    EXPECT_THAT(error.what(), HasSubstr("the host's own network"));
    EXPECT_THAT(error.what(), HasSubstr("--attest_sandbox=auto"));
  }
}

TEST_F(FabricBridgeTest, ABridgeThatCannotHaveItsAddressesIsNotLeft) {
  auto nic = make_nic(1, test_process_node);
  nic.ipv4 = "192.168.1.x";
  EXPECT_THROW(Bridge("br", nic, 1), Error);
  EXPECT_THAT(Netlink().names("br"), IsEmpty());
}

}  // namespace
}  // namespace attest::net
