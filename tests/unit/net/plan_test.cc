#include "lib/net/plan.h"

#include "attest/error.h"

#include <gmock/gmock.h>

#include <set>

namespace attest::net {
namespace {
using testing::ElementsAre;
using testing::HasSubstr;

using Vlans = std::map<std::string, std::vector<int>>;

TEST(Plan, NumbersMachinesInAlphabeticalOrderFromOne) {
  auto plan = make_plan({{"web", {1}}, {"client", {1}}, {"db", {}}});
  EXPECT_EQ(plan.node("client").number, 1);
  EXPECT_EQ(plan.node("db").number, 2);
  EXPECT_EQ(plan.node("web").number, 3);
  EXPECT_THAT(plan.node("db").nics, ElementsAre());
}

struct NicCase {
  const char* name;
  int vlan, number;
  Nic expected;
};
class NicOf : public testing::TestWithParam<NicCase> {};

TEST_P(NicOf, HasAddressesThatFollowFromTheNumbers) {
  EXPECT_EQ(make_nic(GetParam().vlan, GetParam().number), GetParam().expected);
}
INSTANTIATE_TEST_SUITE_P(
    , NicOf,
    testing::Values(
        NicCase{"first", 1, 1, {1, "52:54:00:12:01:01", "192.168.1.1", "2001:db8:1::1"}},
        NicCase{"hex_in_the_mac_only",
                10,
                31,
                {10, "52:54:00:12:0a:1f", "192.168.10.31", "2001:db8:10::31"}},
        NicCase{"largest",
                254,
                253,
                {254, "52:54:00:12:fe:fd", "192.168.254.253", "2001:db8:254::253"}},
        NicCase{"test_process",
                2,
                test_process_node,
                {2, "52:54:00:12:02:fe", "192.168.2.254", "2001:db8:2::254"}}),
    [](const auto& row) { return row.param.name; });

TEST(Plan, KeepsTheOrderOfEachVlanListAndCollectsAllVlansOnce) {
  auto plan = make_plan({{"a", {9, 2}}, {"b", {2}}}, {30, 9, 30});
  EXPECT_THAT(plan.node("a").nics, ElementsAre(make_nic(9, 1), make_nic(2, 1)));
  EXPECT_THAT(plan.vlans, ElementsAre(2, 9, 30));
}

TEST(Plan, TakesAsManyMachinesAsThereAreAddresses) {
  Vlans machines;
  for (int i = 1; i <= 253; ++i) machines["m" + std::to_string(1000 + i)] = {1};
  EXPECT_EQ(make_plan(machines).node("m1253").nics[0].ipv4, "192.168.1.253");
}

struct RefusedCase {
  const char* name;
  Vlans machines;
  std::vector<int> extra;
  const char* says;
};
Vlans many(int count) {
  Vlans machines;
  for (int i = 0; i < count; ++i) machines["m" + std::to_string(i)] = {};
  return machines;
}
class PlanRefuses : public testing::TestWithParam<RefusedCase> {};

TEST_P(PlanRefuses, WithAUsageErrorThatNamesTheCulprit) {
  try {
    make_plan(GetParam().machines, GetParam().extra);
    FAIL() << "it was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::usage);
    EXPECT_THAT(error.what(), HasSubstr(GetParam().says));
  }
}
INSTANTIATE_TEST_SUITE_P(
    , PlanRefuses,
    testing::Values(
        RefusedCase{"vlan_0", {{"web", {0}}}, {}, "VLAN 0 of machine 'web' is outside 1 to 254"},
        RefusedCase{"vlan_255", {{"web", {1, 255}}}, {}, "VLAN 255 of machine 'web'"},
        RefusedCase{"negative", {{"web", {-1}}}, {}, "VLAN -1 of machine 'web'"},
        RefusedCase{"extra_vlan", {{"web", {1}}}, {300}, "VLAN 300 of the configuration's 'vlans'"},
        RefusedCase{"twice", {{"web", {1, 2, 1}}}, {}, "machine 'web' names VLAN 1 twice"},
        RefusedCase{"too_many", many(254), {}, "254 machines are configured"}),
    [](const auto& row) { return row.param.name; });

TEST(HostsFile, NamesEveryMachineWithAnAddressAndItself) {
  auto plan = make_plan({{"client", {1}}, {"lonely", {}}, {"server", {1}}});
  EXPECT_EQ(hosts_file(plan, "client"),
            "127.0.0.1 localhost\n"
            "::1 localhost\n"
            "192.168.1.1 client\n"
            "2001:db8:1::1 client\n"
            "192.168.1.3 server\n"
            "2001:db8:1::3 server\n");
}

struct PeerCase {
  const char* name;
  std::vector<int> own, theirs;
  const char* expected;  // the peer's IPv4 line, or null for none
};
class HostsLine : public testing::TestWithParam<PeerCase> {};

TEST_P(HostsLine, LeadsToAReachableAddress) {
  auto plan = make_plan({{"a", GetParam().own}, {"b", GetParam().theirs}});
  if (GetParam().expected)
    EXPECT_THAT(hosts_file(plan, "a"), HasSubstr(GetParam().expected));
  else
    EXPECT_THAT(hosts_file(plan, "a"), testing::Not(HasSubstr(" b\n")));
}
INSTANTIATE_TEST_SUITE_P(
    , HostsLine,
    testing::Values(PeerCase{"the_only_common_vlan", {1, 2}, {3, 2}, "\n192.168.2.2 b\n"},
                    PeerCase{"first_common_in_own_order", {2, 1}, {1, 2}, "\n192.168.2.2 b\n"},
                    PeerCase{"nothing_in_common", {1}, {5, 4}, "\n192.168.5.2 b\n"},
                    PeerCase{"without_own_nics", {}, {7}, "\n192.168.7.2 b\n"},
                    PeerCase{"peer_without_nics", {1}, {}, nullptr}),
    [](const auto& row) { return row.param.name; });

TEST(SeedFiles, AreHostnameHostsAndOneNetworkFilePerNic) {
  auto plan = make_plan({{"web", {3, 1}}});
  auto files = seed_files(plan, "web");
  std::vector<std::string> paths;
  for (auto& file : files) paths.push_back(file.path);
  EXPECT_THAT(paths, ElementsAre("/etc/hostname", "/etc/hosts",
                                 "/etc/systemd/network/10-attest-vlan3.network",
                                 "/etc/systemd/network/10-attest-vlan1.network"));
  EXPECT_EQ(files[0].content, "web\n");
  EXPECT_EQ(files[1].content, hosts_file(plan, "web"));
  for (auto& file : files) EXPECT_EQ(file.mode, 0644u);
  EXPECT_EQ(files[2].content,
            "[Match]\n"
            "MACAddress=52:54:00:12:03:01\n"
            "Kind=!vlan bridge bond team macvlan ipvlan\n"
            "\n"
            "[Network]\n"
            "Address=192.168.3.1/24\n"
            "Address=2001:db8:3::1/64\n"
            "DHCP=no\n"
            "IPv6AcceptRA=no\n"
            "LinkLocalAddressing=ipv6\n"
            "IPv6DuplicateAddressDetection=0\n"
            "LLMNR=no\n"
            "ConfigureWithoutCarrier=yes\n");
}

TEST(Plan, NamesTheNearestMachineForATypo) {
  auto plan = make_plan({{"server", {1}}});
  try {
    seed_files(plan, "srever");
    FAIL() << "it was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::usage);
    EXPECT_THAT(error.what(), HasSubstr("no machine 'srever'"));
    EXPECT_THAT(error.what(), HasSubstr("'server'"));
  }
}

struct InterfaceName {
  int driver, vlan, number;
  const char *bridge, *interface;
};
class InterfaceNameOf : public testing::TestWithParam<InterfaceName> {};

TEST_P(InterfaceNameOf, FitsIntoWhatTheKernelTakes) {
  auto& row = GetParam();
  EXPECT_EQ(bridge_name(row.driver, row.vlan), row.bridge);
  EXPECT_EQ(interface_name(row.driver, row.vlan, row.number), row.interface);
  EXPECT_LE(interface_name(row.driver, row.vlan, row.number).size(), 15u);
}

INSTANTIATE_TEST_SUITE_P(Drivers, InterfaceNameOf,
                         testing::Values(InterfaceName{0, 1, 1, "at0v1", "at0v1n1"},
                                         InterfaceName{1, 23, 4, "at1v23", "at1v23n4"},
                                         InterfaceName{12, 3, 4, "at12v3", "at12v3n4"},
                                         InterfaceName{0, 254, 253, "at0v254", "at0v254n253"},
                                         InterfaceName{last_driver, last_vlan, last_node,
                                                       "at99999v254", "at99999v254n253"}));

TEST(InterfaceNames, AreNeverTheSameForTwo) {
  std::set<std::string> names;
  std::size_t made = 0;
  for (int driver : {1, 2, 11, 12, 112})
    for (int vlan : {1, 2, 11, 12, 21, 111, 112, 254}) {
      names.insert(bridge_name(driver, vlan));
      ++made;
      for (int number = 1; number <= last_node; ++number, ++made)
        names.insert(interface_name(driver, vlan, number));
    }
  EXPECT_EQ(names.size(), made);
}

}  // namespace
}  // namespace attest::net
