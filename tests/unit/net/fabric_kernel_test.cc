// VLANs with interfaces of the kernel: on bridges, and in the switch in this process.
#include "lib/base/sys_error.h"
#include "lib/net/fabric.h"
#include "lib/net/kernel/tap.h"
#include "tests/unit/net/own_network.h"
#include "tests/unit/net/running_fabric.h"

#include <gmock/gmock.h>

#include <net/if.h>
#include <sys/ioctl.h>

#include <optional>

namespace attest::net {
namespace {
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

FabricSetup own_network(Realisation realisation = Realisation::automatic) {
  return {.work_dir = {}, .own_network = true, .realisation = realisation};
}

std::map<std::string, Wiring> containers(const RunningFabric::Machines& machines) {
  std::map<std::string, Wiring> wirings;
  for (auto& [name, vlans] : machines) wirings[name] = Wiring::veth;
  return wirings;
}

// A container as far as the network goes.
class Container {
 public:
  Container(RunningFabric& fabric, const std::string& machine, std::size_t index = 0)
      : netns_(make_netns()) {
    auto nic = fabric.attachment(machine, index);
    fabric.loop([&](Fabric& f) { f.plugs(machine)->plug_veth(nic, "eth0", netns_.get()); });
    in_netns(netns_, [&] {
      Netlink inside;
      inside.set_up("eth0");
      inside.add_address("eth0", nic.ipv4, 24);
      socket_.emplace(nic.ipv4);
    });
  }
  const Udp& socket() const { return *socket_; }
  const base::Fd& netns() const { return netns_; }
  bool reaches(const Container& other, const std::string& text) const {
    return socket_->reaches(*other.socket_, text);
  }

 private:
  base::Fd netns_;
  std::optional<Udp> socket_;
};

// An interface that is up can be renamed where the kernel lets a live one be (since 6.2).
void rename_interface(const std::string& name, const std::string& to) {
  base::Fd socket(base::check(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "a socket"));
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  to.copy(request.ifr_newname, IFNAMSIZ - 1);
  base::check(::ioctl(socket.get(), SIOCSIFNAME, &request), "renaming " + name);
}

class FabricKernel : public OwnNetwork {};

class FabricRealised : public OwnNetwork, public testing::WithParamInterface<Realisation> {
 protected:
  RunningFabric make(const RunningFabric::Machines& machines) {
    return RunningFabric(machines, containers(machines), own_network(GetParam()));
  }
};
INSTANTIATE_TEST_SUITE_P(, FabricRealised,
                         testing::Values(Realisation::kernel, Realisation::process),
                         [](auto& made) {
                           return made.param == Realisation::kernel ? "kernel" : "process";
                         });

TEST_P(FabricRealised, ContainersReachEachOtherAndTheTestOnTheirVlan) {
  auto fabric = make({{"a", {3}}, {"b", {3}}});
  fabric.start();
  EXPECT_EQ(fabric.loop([](Fabric& f) { return f.in_kernel(3); }),
            GetParam() == Realisation::kernel);
  EXPECT_TRUE(fabric.loop([](Fabric& f) { return f.reaches(3); }));
  Container a(fabric, "a"), b(fabric, "b");
  EXPECT_TRUE(a.reaches(b, "from a to b"));
  Udp us(make_nic(3, test_process_node).ipv4);
  EXPECT_TRUE(b.socket().reaches(us, "from b to the test"));
  EXPECT_TRUE(us.reaches(a.socket(), "from the test to a"));
}

TEST_P(FabricRealised, ItsEndLeavesNothingEvenWithLinksPluggedIn) {
  auto fabric = make({{"a", {1, 2}}});
  fabric.start();
  Container a(fabric, "a");
  fabric.stop();
  EXPECT_THAT(Netlink().names(), ElementsAre("lo"));
}

TEST_P(FabricRealised, APartitionHoldsBetweenContainersAndHeals) {
  auto fabric = make({{"a", {1}}, {"b", {1}}, {"c", {1}}});
  fabric.start();
  Container a(fabric, "a"), b(fabric, "b"), c(fabric, "c");
  ASSERT_TRUE(a.reaches(b, "before"));
  int fault =
      fabric.loop([](Fabric& f) { return f.add_fault(partition(f.plan(), {"a"}, {"b"}, {})); });
  EXPECT_FALSE(a.socket().reaches(b.socket(), "cut", 3));
  EXPECT_FALSE(b.socket().reaches(a.socket(), "cut", 3));
  EXPECT_TRUE(a.reaches(c, "others do not notice"));
  fabric.loop([&](Fabric& f) { f.remove_fault(fault); });
  EXPECT_TRUE(a.reaches(b, "healed"));
}

TEST_P(FabricRealised, TheTestProcessIsCutOffLikeAMachine) {
  auto fabric = make({{"a", {1}}});
  fabric.start();
  Container a(fabric, "a");
  Udp us(make_nic(1, test_process_node).ipv4);
  ASSERT_TRUE(us.reaches(a.socket(), "before"));
  int fault = fabric.loop([](Fabric& f) { return f.add_fault(isolate(f.plan(), "a", {})); });
  EXPECT_FALSE(us.reaches(a.socket(), "cut", 3));
  EXPECT_FALSE(a.socket().reaches(us, "cut", 3));
  fabric.loop([&](Fabric& f) { f.remove_fault(fault); });
  EXPECT_TRUE(us.reaches(a.socket(), "healed"));
}

TEST_P(FabricRealised, WhatTheKernelCannotDoMovesTheVlanIntoTheProcess) {
  auto fabric = make({{"a", {1}}, {"b", {1}}});
  fabric.start();
  Container a(fabric, "a"), b(fabric, "b");
  ASSERT_TRUE(a.reaches(b, "before"));
  // What no kernel does as we do: overtaking and a delay at once.
  const Impairment odd{.delay = std::chrono::milliseconds(1), .reorder = 0.5, .mtu = 20};
  int fault = fabric.loop(
      [&](Fabric& f) { return f.add_fault(impair(f.plan(), "b", 1, odd, Direction::both)); });
  EXPECT_FALSE(fabric.loop([](Fabric& f) { return f.in_kernel(1); }));
  EXPECT_FALSE(a.socket().reaches(b.socket(), "longer than twenty bytes", 3));
  fabric.loop([&](Fabric& f) { f.remove_fault(fault); });
  EXPECT_TRUE(a.reaches(b, "healed"));
  Udp us(make_nic(1, test_process_node).ipv4);
  EXPECT_TRUE(us.reaches(a.socket(), "the test is there, too"));
  if (GetParam() == Realisation::kernel) {
    EXPECT_THAT(fabric.said(), ElementsAre(StartsWith("VLAN 1 goes through the switch")));
  }
}

TEST_P(FabricRealised, AContainerThatComesBackJoinsAgainUnderTheSameFaults) {
  auto fabric = make({{"a", {1}}, {"b", {1}}});
  fabric.start();
  Container b(fabric, "b");
  auto unplug = [&] {
    auto nic = fabric.attachment("a");
    fabric.loop([&](Fabric& f) { f.plugs("a")->unplug(nic); });
  };
  {
    Container a(fabric, "a");
    ASSERT_TRUE(a.reaches(b, "before"));
    unplug();
    unplug();  // again: there is none
  }
  int fault = fabric.loop([](Fabric& f) { return f.add_fault(isolate(f.plan(), "a", {})); });
  Container a(fabric, "a");
  EXPECT_FALSE(a.socket().reaches(b.socket(), "cut", 3));
  fabric.loop([&](Fabric& f) { f.remove_fault(fault); });
  EXPECT_TRUE(a.reaches(b, "healed"));
}

TEST_P(FabricRealised, APulledCableTakesTheCarrier) {
  auto fabric = make({{"a", {1}}, {"b", {1}}});
  fabric.start();
  Container a(fabric, "a"), b(fabric, "b");
  ASSERT_TRUE(a.reaches(b, "before"));
  fabric.loop([](Fabric& f) { f.set_plugged("a", 1, false); });
  EXPECT_FALSE(b.socket().reaches(a.socket(), "pulled", 3));
  fabric.loop([](Fabric& f) { f.set_plugged("a", 1, true); });
  EXPECT_TRUE(a.reaches(b, "plugged"));
}

TEST_P(FabricRealised, CountsWhatPassesALink) {
  auto fabric = make({{"a", {1}}, {"b", {1}}});
  fabric.start();
  Container a(fabric, "a"), b(fabric, "b");
  ASSERT_TRUE(a.reaches(b, "count me"));
  auto stats = fabric.loop([](Fabric& f) { return f.stats("a", 1); });
  EXPECT_GT(stats.from_machine, 0u);
  EXPECT_GT(stats.to_machine, 0u);  // at least the answer to its ARP
}

TEST_F(FabricKernel, ContainersAndStreamMachinesShareAVlan) {
  RunningFabric fabric({{"box", {1}}, {"vm", {1}}}, {{"box", Wiring::veth}}, own_network());
  fabric.start();
  EXPECT_FALSE(fabric.loop([](Fabric& f) { return f.in_kernel(1); }));
  Container box(fabric, "box");
  auto vm = fabric.join_stream("vm");
  Udp us(make_nic(1, test_process_node).ipv4);
  EXPECT_TRUE(us.reaches(box.socket(), "over the switch"));
  vm.send(frame(0xff, 9, "a broadcast that both see"));
  // What the others have broadcast (ARP) comes to the VM.
  EXPECT_NE(next(vm), "(end)");
}

TEST_F(FabricKernel, AStreamMachineOnAKernelVlanGetsATap) {
  if (auto why = why_no_tap(); !why.empty()) GTEST_SKIP() << why;
  RunningFabric fabric({{"box", {1}}, {"vm", {1}}}, {{"box", Wiring::veth}},
                       own_network(Realisation::kernel));
  fabric.start();
  auto nic = fabric.attachment("vm");
  EXPECT_EQ(nic.socket, "");
  base::Fd tap(fabric.loop([&](Fabric& f) { return f.plugs("vm")->open_tap(nic); }));
  Container box(fabric, "box");
  char buffer[2000];
  pollfd ready{.fd = tap.get(), .events = POLLIN, .revents = 0};
  Udp us(make_nic(1, test_process_node).ipv4);
  EXPECT_TRUE(us.reaches(box.socket(), "hello"));
  // What both broadcast meanwhile (ARP requests) has reached the hypervisor's end.
  ASSERT_EQ(::poll(&ready, 1, 10'000), 1);
  EXPECT_GT(::read(tap.get(), buffer, sizeof buffer), 0);
  tap.reset();
  // Its name is free for the next boot.
  base::Fd again(fabric.loop([&](Fabric& f) { return f.plugs("vm")->open_tap(nic); }));
}

TEST_F(FabricKernel, TwoFabricsAtOnceDoNotMeet) {
  RunningFabric::Machines machines{{"a", {1}}};
  RunningFabric one(machines, containers(machines), own_network()),
      two(machines, containers(machines), own_network());
  EXPECT_NE(one.attachment("a").interface, two.attachment("a").interface);
  one.start();
  two.start();
  EXPECT_TRUE(one.loop([](Fabric& f) { return f.reaches(1); }));
  EXPECT_FALSE(two.loop([](Fabric& f) { return f.reaches(1); })) << "two places, one address";
  EXPECT_THAT(two.said(), ElementsAre(HasSubstr("another driver")));
  Container a(one, "a"), b(two, "a");
  one.stop();
  RunningFabric third(machines, containers(machines), own_network());
  third.start();
  EXPECT_TRUE(third.loop([](Fabric& f) { return f.reaches(1); })) << "the place is free again";
}

// The kernel takes a TAP away with the hypervisor that had it open; nobody says so.
TEST_F(FabricKernel, ATapThatWentWithItsMachineIsInNobodysWay) {
  if (auto why = why_no_tap(); !why.empty()) GTEST_SKIP() << why;
  RunningFabric fabric({{"box", {1}}, {"also", {1}}, {"vm", {1}}},
                       {{"box", Wiring::veth}, {"also", Wiring::veth}},
                       own_network(Realisation::kernel));
  fabric.start();
  Container box(fabric, "box"), also(fabric, "also");
  auto nic = fabric.attachment("vm");
  base::Fd tap(fabric.loop([&](Fabric& f) { return f.plugs("vm")->open_tap(nic); }));
  tap.reset();
  fabric.loop([](Fabric& f) {
    f.set_plugged("vm", 1, false);
    EXPECT_EQ(f.stats("vm", 1).from_machine, 0u);
    f.set_plugged("vm", 1, true);
    f.add_fault(isolate(f.plan(), "vm", {}));
    EXPECT_TRUE(f.in_kernel(1));
    f.watch(1, [](const Seen&) {});
    EXPECT_FALSE(f.in_kernel(1));
  });
  EXPECT_TRUE(box.reaches(also, "the others have moved"));
  Udp us(make_nic(1, test_process_node).ipv4);
  EXPECT_TRUE(us.reaches(box.socket(), "and so has the test"));
}

TEST_F(FabricKernel, AContainerThatRenamedItsInterfaceMovesToo) {
  RunningFabric::Machines machines{{"a", {1}}, {"b", {1}}};
  RunningFabric fabric(machines, containers(machines), own_network());
  fabric.start();
  Container a(fabric, "a"), b(fabric, "b");
  ASSERT_TRUE(a.reaches(b, "before"));
  in_netns(a.netns(), [] { rename_interface("eth0", "uplink0"); });
  fabric.loop([](Fabric& f) { f.watch(1, [](const Seen&) {}); });
  EXPECT_TRUE(a.reaches(b, "in the process"));
}

TEST_P(FabricRealised, AFailureOfOneVlanUndoesTheOthersAndItCanBeStartedAgain) {
  auto fabric = make({{"a", {1, 2}}});
  auto in_the_way = fabric.attachment("a", 1).interface;
  in_the_way.resize(in_the_way.rfind('n'));  // the bridge's name
  Netlink netlink;
  netlink.make_bridge(in_the_way, "52:54:00:00:00:01");
  try {
    fabric.start();
    FAIL() << "it was started";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::host);
    EXPECT_THAT(error.what(), HasSubstr("'" + in_the_way + "': File exists"));
    EXPECT_THAT(error.what(), HasSubstr("while setting up VLAN 2"));
  }
  EXPECT_THAT(netlink.names("at"), ElementsAre(in_the_way)) << "only what was there before";
  netlink.remove(in_the_way);
  fabric.start();
  EXPECT_TRUE(fabric.loop([](Fabric& f) { return f.reaches(1) && f.reaches(2); }));
}

TEST(FabricInTheHostsNetwork, MakesNoInterfaces) {
  RunningFabric::Machines machines{{"web", {1}}};
  try {
    RunningFabric fabric(machines, containers(machines));
    FAIL() << "it was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::unsupported);
    EXPECT_THAT(error.what(), HasSubstr("VLAN 1 of 'web'"));
    EXPECT_THAT(error.what(), HasSubstr("the host's own network"));
    EXPECT_THAT(error.what(), HasSubstr("--attest_sandbox=auto"));
  }
}

}  // namespace
}  // namespace attest::net
