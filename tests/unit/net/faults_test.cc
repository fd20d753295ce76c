#include "lib/net/faults.h"

#include "tests/fakes/error_of.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <functional>
#include <set>

namespace attest::net {
namespace {
using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Pairs = std::vector<std::pair<Member, Member>>;

const std::string tester(test_process);
constexpr Member test = test_process_node;

// a 1, b 2, c 3, far 4, host 5; VLAN 4 has no machine.
Plan plan() {
  return make_plan({{"a", {1, 2}}, {"b", {1}}, {"c", {2, 1}}, {"far", {3}}, {"host", {}}}, {4});
}

FaultPart cuts(int vlan, Pairs pairs) {
  return {.vlan = vlan, .cuts = std::move(pairs), .impairment = {}};
}

struct Shape {
  const char* name;
  std::function<FaultPlan(const Plan&)> make;
  FaultPlan expected;
};
class Shapes : public testing::TestWithParam<Shape> {};

TEST_P(Shapes, CutWhatTheySay) { EXPECT_EQ(GetParam().make(plan()), GetParam().expected); }

INSTANTIATE_TEST_SUITE_P(
    , Shapes,
    testing::Values(
        Shape{"a_partition_wherever_the_groups_meet",
              [](auto& p) { return partition(p, {"a"}, {"b", "c"}, {}); },
              {cuts(1, {{1, 2}, {2, 1}, {1, 3}, {3, 1}}), cuts(2, {{1, 3}, {3, 1}})}},
        Shape{"a_partition_on_one_vlan",
              [](auto& p) { return partition(p, {"a"}, {"c"}, {.vlan = 2}); },
              {cuts(2, {{1, 3}, {3, 1}})}},
        Shape{"a_partition_one_way",
              [](auto& p) { return partition(p, {"b"}, {"a", "c"}, {.one_way = true}); },
              {cuts(1, {{2, 1}, {2, 3}})}},
        Shape{"a_partition_of_members_that_do_not_all_meet",
              [](auto& p) { return partition(p, {"far", "b"}, {"a"}, {}); },
              {cuts(1, {{2, 1}, {1, 2}})}},
        Shape{"a_partition_from_the_test_process",
              [](auto& p) { return partition(p, {tester}, {"far"}, {}); },
              {cuts(3, {{test, 4}, {4, test}})}},
        Shape{"isolation_from_all_others_and_the_test_process",
              [](auto& p) { return isolate(p, "b", {}); },
              {cuts(1, {{2, 1}, {1, 2}, {2, 3}, {3, 2}, {2, test}, {test, 2}})}},
        Shape{"isolation_on_one_vlan",
              [](auto& p) { return isolate(p, "a", {.vlan = 2}); },
              {cuts(2, {{1, 3}, {3, 1}, {1, test}, {test, 1}})}},
        Shape{"isolation_of_what_it_sends",
              [](auto& p) { return isolate(p, "far", {.one_way = true}); },
              {cuts(3, {{4, test}})}},
        Shape{"isolation_of_the_test_process",
              [](auto& p) { return isolate(p, tester, {.one_way = true}); },
              {cuts(1, {{test, 1}, {test, 2}, {test, 3}}), cuts(2, {{test, 1}, {test, 3}}),
               cuts(3, {{test, 4}})}},
        Shape{"a_bridge_whose_middle_reaches_both",
              [](auto& p) { return bridge(p, {"a"}, "b", {"c"}, {.vlan = 1}); },
              {cuts(1, {{1, 3}, {3, 1}})}},
        Shape{"a_bridge_one_way",
              [](auto& p) { return bridge(p, {"a"}, tester, {"b"}, {.one_way = true}); },
              {cuts(1, {{1, 2}})}}),
    [](const auto& one) { return one.param.name; });

struct Refusal {
  const char* name;
  std::function<void(const Plan&)> call;
  const char* text;
  Error::Kind kind = Error::Kind::usage;
};
class Refusals : public testing::TestWithParam<Refusal> {};

TEST_P(Refusals, SayWhatIsWrong) {
  auto text = error_of(GetParam().kind, [] { GetParam().call(plan()); });
  EXPECT_THAT(text, HasSubstr(GetParam().text));
}

INSTANTIATE_TEST_SUITE_P(
    , Refusals,
    testing::Values(
        Refusal{"an_unknown_member", [](auto& p) { partition(p, {"a"}, {"farr"}, {}); },
                "there is no member 'farr' of the networks; there are: a, b, c, far, host, (test)\n"
                "  hint: did you mean 'far'?"},
        Refusal{"an_unknown_middle", [](auto& p) { bridge(p, {"a"}, "x", {"b"}, {}); },
                "there is no member 'x'"},
        Refusal{"an_unknown_machine_of_a_link", [](auto& p) { impair(p, "x", 0, {}, {}); },
                "there is no member 'x'"},
        Refusal{"one_in_both_groups", [](auto& p) { partition(p, {"a", "b"}, {"b"}, {}); },
                "'b' is in both groups"},
        Refusal{"one_twice_in_a_group", [](auto& p) { partition(p, {"a", "a"}, {"b"}, {}); },
                "'a' is in the group twice"},
        Refusal{"the_middle_in_a_group", [](auto& p) { bridge(p, {"a"}, "a", {"b"}, {}); },
                "'a' is the middle, and in a group"},
        Refusal{"an_empty_group", [](auto& p) { partition(p, {"a"}, {}, {}); },
                "a group has no members"},
        Refusal{"groups_that_do_not_meet", [](auto& p) { partition(p, {"a", "b"}, {"far"}, {}); },
                "the groups meet on no VLAN: 'a' is on VLANs 1, 2, 'b' is on VLAN 1; "
                "'far' is on VLAN 3"},
        Refusal{"a_middle_that_meets_nobody", [](auto& p) { bridge(p, {"a"}, "far", {"b"}, {}); },
                "the middle meets one of the groups on no VLAN: 'far' is on VLAN 3"},
        Refusal{"a_vlan_that_there_is_not",
                [](auto& p) { partition(p, {"a"}, {"b"}, {.vlan = 7}); },
                "there is no VLAN 7; there is: VLANs 1, 2, 3, 4"},
        Refusal{"a_vlan_that_a_member_is_not_on",
                [](auto& p) { partition(p, {"a"}, {"b"}, {.vlan = 2}); },
                "'b' is not on VLAN 2, it is on VLAN 1"},
        Refusal{"a_vlan_that_the_machine_of_a_link_is_not_on",
                [](auto& p) { cut(p, "far", 1, Direction::both); },
                "'far' is not on VLAN 1, it is on VLAN 3"},
        Refusal{"isolation_on_a_vlan_that_it_is_not_on",
                [](auto& p) { isolate(p, "far", {.vlan = 1}); }, "'far' is not on VLAN 1"},
        Refusal{"a_ring_of_four", [](auto& p) { majority_ring(p, {"a", "b", "c", "far"}, {}); },
                "a majority ring has at least five members, not 4"},
        Refusal{"a_ring_one_way",
                [](auto& p) { majority_ring(p, {"a", "b", "c"}, {.one_way = true}); }, "one_way"},
        Refusal{"a_share_that_is_none",
                [](auto& p) { impair(p, "a", 0, {.loss = 1.5}, Direction::both); },
                "loss 1.5 is no probability"},
        Refusal{"a_machine_on_no_vlan", [](auto& p) { isolate(p, "host", {}); },
                "machine 'host' joins no VLAN of ours", Error::Kind::unsupported},
        Refusal{"a_link_of_a_machine_on_no_vlan", [](auto& p) { vlan_of_link(p, "host", 0); },
                "machine 'host' joins no VLAN of ours", Error::Kind::unsupported}),
    [](const auto& one) { return one.param.name; });

TEST(Isolation, WithoutOthersStillSeparatesFromTheTestProcess) {
  EXPECT_EQ(isolate(make_plan({{"a", {1}}}), "a", {}), FaultPlan{cuts(1, {{1, 254}, {254, 1}})});
}

// ---- majority rings ----

struct Ring {
  int members;
  std::size_t sees;  // itself included
};
class MajorityRing : public testing::TestWithParam<Ring> {};

TEST_P(MajorityRing, ShowsEachMemberAMajorityAndNoTwoTheSame) {
  auto [count, sees] = GetParam();
  std::map<std::string, std::vector<int>> machines;
  Network::Group members;
  for (int i = 1; i <= count; ++i) members.push_back(fmt::format("m{:02}", i));
  for (auto& member : members) machines[member] = {1};
  machines["zz"] = {1};
  auto fault = majority_ring(make_plan(machines), members, {});
  ASSERT_EQ(fault.size(), 1u);
  std::set<std::pair<Member, Member>> cut(fault[0].cuts.begin(), fault[0].cuts.end());
  EXPECT_EQ(cut.size(), fault[0].cuts.size());
  std::set<std::set<Member>> views;
  for (Member one = 1; one <= count; ++one) {
    std::set<Member> view;
    for (Member other = 1; other <= count; ++other) {
      EXPECT_EQ(cut.contains({one, other}), cut.contains({other, one}));
      if (!cut.contains({one, other})) view.insert(other);
    }
    EXPECT_TRUE(view.contains(one));
    EXPECT_TRUE(view.contains(one % count + 1)) << "its neighbour";
    EXPECT_EQ(view.size(), sees);
    EXPECT_GT(view.size() * 2, static_cast<std::size_t>(count));
    views.insert(view);
  }
  EXPECT_EQ(views.size(), static_cast<std::size_t>(count));
  for (auto& [from, to] : cut) EXPECT_LE(std::max(from, to), count) << "others are as they were";
}

INSTANTIATE_TEST_SUITE_P(, MajorityRing,
                         testing::Values(Ring{5, 3}, Ring{6, 5}, Ring{7, 5}, Ring{8, 5}, Ring{9, 5},
                                         Ring{10, 7}, Ring{11, 7}, Ring{12, 7}, Ring{13, 7},
                                         Ring{14, 9}, Ring{60, 31}),
                         [](const auto& one) { return std::to_string(one.param.members); });

TEST(MajorityRings, StandInTheOrderGiven) {
  std::map<std::string, std::vector<int>> machines;
  for (auto* name : {"a", "b", "c", "d", "e"}) machines[name] = {1};
  auto fault = majority_ring(make_plan(machines), {"a", "c", "e", "b", "d"}, {});
  Pairs of_a;
  for (auto& pair : fault.at(0).cuts)
    if (pair.first == 1) of_a.push_back(pair);
  EXPECT_THAT(of_a, ElementsAre(std::pair(1, 5), std::pair(1, 2)));  // not c and d
}

TEST(MajorityRings, NeedDifferentMembersOnSomeCommonVlan) {
  std::map<std::string, std::vector<int>> machines;
  for (int i = 1; i <= 5; ++i) machines["m" + std::to_string(i)] = {i};
  auto plan = make_plan(machines);
  auto text = error_of(Error::Kind::usage,
                       [&] { majority_ring(plan, {"m1", "m2", "m3", "m4", "m5"}, {}); });
  EXPECT_THAT(text, HasSubstr("no two members to separate: 'm1' is on VLAN 1"));
  text = error_of(Error::Kind::usage,
                  [&] { majority_ring(plan, {"m1", "m2", "m3", "m4", "m1"}, {}); });
  EXPECT_THAT(text, HasSubstr("'m1' is in the group twice"));
}

// ---- links ----

TEST(Links, AreImpairedOnTheVlanThatIsNamedOrTheFirstOfTheList) {
  Impairment slow{.delay = 50ms};
  FaultPart part{
      .vlan = 2, .cuts = {}, .shaped = 3, .direction = Direction::to_machine, .impairment = slow};
  EXPECT_EQ(impair(plan(), "c", 0, slow, Direction::to_machine), FaultPlan{part});
  part.vlan = 1;
  EXPECT_EQ(impair(plan(), "c", 1, slow, Direction::to_machine), FaultPlan{part});
  EXPECT_EQ(vlan_of_link(plan(), tester, 0), 1);
  EXPECT_EQ(vlan_of_link(plan(), tester, 4), 4);
}

TEST(Links, LoseEverythingWhenTheyAreCut) {
  Rules rules;
  auto fault = cut(plan(), "a", 2, Direction::from_machine);
  EXPECT_FALSE(has_choices(fault));
  add_to(rules, fault, 2);
  ASSERT_TRUE(rules.from(1));
  EXPECT_EQ(rules.from(1)->loss, 1);
  EXPECT_FALSE(rules.to(1));
}

TEST(FaultsAsRules, TouchTheirOwnVlanOnly) {
  auto fault = partition(plan(), {"a"}, {"c"}, {.vlan = 2});
  Rules rules;
  add_to(rules, fault, 1);
  EXPECT_TRUE(rules.empty());
  add_to(rules, fault, 2);
  EXPECT_TRUE(rules.blocks(1, 3));
  EXPECT_TRUE(rules.blocks(3, 1));
  EXPECT_FALSE(rules.blocks(1, 2));
}

TEST(FaultsAsRules, ShapeBothWaysOrOne) {
  for (auto direction : {Direction::both, Direction::to_machine, Direction::from_machine}) {
    Rules rules;
    add_to(rules, impair(plan(), "b", 0, {.delay = 10ms}, direction), 1);
    EXPECT_EQ(rules.from(2) != nullptr, direction != Direction::to_machine);
    EXPECT_EQ(rules.to(2) != nullptr, direction != Direction::from_machine);
  }
}

TEST(FaultsAsRules, AddUp) {
  Rules rules;
  add_to(rules, impair(plan(), "b", 0, {.delay = 10ms}, Direction::both), 1);
  add_to(rules, impair(plan(), "b", 0, {.delay = 5ms, .loss = 0.5}, Direction::to_machine), 1);
  EXPECT_EQ(rules.to(2)->delay, 15ms);
  EXPECT_EQ(rules.from(2)->delay, 10ms);
}

TEST(RandomChoices, AreThoseThatTheSeedDecides) {
  auto choices = [](const Impairment& impairment) {
    return has_choices(impair(plan(), "a", 0, impairment, Direction::both));
  };
  for (auto& one :
       {Impairment{.loss = 0.1}, Impairment{.duplicate = 0.1}, Impairment{.reorder = 1e-9},
        Impairment{.corrupt = 1}, Impairment{.jitter = 1us}})
    EXPECT_TRUE(choices(one));
  for (auto& none : {Impairment{}, Impairment{.loss = 1}, Impairment{.delay = 1s},
                     Impairment{.rate = 1000}, Impairment{.mtu = 500}})
    EXPECT_FALSE(choices(none));
  EXPECT_FALSE(has_choices(partition(plan(), {"a"}, {"b"}, {})));
}

}  // namespace
}  // namespace attest::net
