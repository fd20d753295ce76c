#include "lib/net/layout.h"

#include "attest/error.h"

#include <gmock/gmock.h>

namespace attest::net {
namespace {
using testing::HasSubstr;

struct Row {
  const char* name;
  std::map<std::string, Wiring> machines;  // all on VLAN 1; VLAN 2 is empty
  Realisation wanted;
  bool own_network;
  std::set<int> kernel;
  std::vector<std::string> refusal;  // parts of its text; empty: accepted
};

class Layout : public testing::TestWithParam<Row> {};

constexpr auto automatic = Realisation::automatic, kernel = Realisation::kernel,
               process = Realisation::process;

INSTANTIATE_TEST_SUITE_P(
    , Layout,
    testing::Values(
        Row{"ContainersAloneAreTheKernels", {{"a", Wiring::veth}}, automatic, true, {1}, {}},
        Row{"VmsAreTheSwitchs", {{"a", Wiring::stream}}, automatic, true, {}, {}},
        Row{"VmsNeedNoInterfaces", {{"a", Wiring::stream}}, automatic, false, {}, {}},
        Row{"AnyMixIsTheSwitchs",
            {{"a", Wiring::veth}, {"b", Wiring::stream}, {"c", Wiring::vde}},
            automatic,
            true,
            {},
            {}},
        Row{"TapsAloneAreTheKernels", {{"a", Wiring::tap}}, automatic, true, {1}, {}},
        Row{"ContainersGoWhereIsWanted", {{"a", Wiring::veth}}, process, true, {}, {}},
        Row{"VmsGoWhereIsWanted", {{"a", Wiring::stream}}, kernel, true, {1, 2}, {}},
        Row{"MachinesWithoutVlansCountForNothing", {{"a", Wiring::none}}, automatic, false, {}, {}},
        Row{"ContainersNeedInterfaces",
            {{"a", Wiring::veth}},
            process,
            false,
            {},
            {"VLAN 1 of 'a'", "the host's own network", "\"host\" or \"none\""}},
        Row{"TapsNeedInterfaces",
            {{"a", Wiring::tap}},
            automatic,
            false,
            {},
            {"VLAN 1 of 'a'", "--attest_sandbox=auto"}},
        Row{"TheKernelNeedsInterfaces",
            {{"a", Wiring::stream}},
            kernel,
            false,
            {},
            {"VLAN 1 cannot be the kernel's", "network.realisation"}},
        Row{"StartScriptsCannotBeTheKernels",
            {{"a", Wiring::stream}, {"old", Wiring::vde}},
            kernel,
            true,
            {},
            {"VLAN 1 of 'old'", "start scripts", "auto"}}),
    [](auto& row) { return row.param.name; });

TEST_P(Layout, IsDecidedFromThePlan) {
  auto& row = GetParam();
  std::map<std::string, std::vector<int>> vlans;
  Wirings wirings;
  for (auto& [name, wiring] : row.machines) {
    vlans[name] = wiring == Wiring::none ? std::vector<int>{} : std::vector<int>{1};
    wirings.emplace(name, wiring);
  }
  auto plan = make_plan(vlans, {1, 2});
  if (row.refusal.empty()) {
    EXPECT_EQ(kernel_vlans(plan, wirings, row.wanted, row.own_network), row.kernel);
    return;
  }
  try {
    kernel_vlans(plan, wirings, row.wanted, row.own_network);
    FAIL() << "it was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::unsupported);
    for (auto& part : row.refusal) EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

}  // namespace
}  // namespace attest::net
