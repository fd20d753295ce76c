#include "lib/net/uplink.h"

#include "attest/error.h"
#include "lib/net/switching/frames.h"

#include <gmock/gmock.h>

#include <algorithm>

namespace attest::net {
namespace {
using testing::ElementsAre;
using testing::HasSubstr;

using namespace std::string_literals;

TEST(Uplink, IsOneMoreCardOfTheMachineThatAsksForIt) {
  auto plan = make_plan({{"db", {}}, {"web", {3}}});
  add_uplink(plan, "web");
  EXPECT_EQ(plan.node("web").uplink, (Nic{0, "52:54:00:12:00:02", "10.0.2.15", ""}));
  EXPECT_FALSE(plan.node("db").uplink);
  EXPECT_THAT(plan.node("web").nics, ElementsAre(make_nic(3, 2)));
  EXPECT_THAT(plan.vlans, ElementsAre(3));
  EXPECT_THROW(add_uplink(plan, "wbe"), Error);
}

TEST(Uplink, IsInNobodysHostsFile) {
  auto plan = make_plan({{"db", {1}}, {"web", {1}}});
  auto before = hosts_file(plan, "db");
  add_uplink(plan, "web");
  EXPECT_EQ(hosts_file(plan, "db"), before);
  EXPECT_EQ(hosts_file(plan, "web"), before);
}

TEST(Uplink, BringsItsSeedFilesToThatMachineOnly) {
  auto plan = make_plan({{"db", {1}}, {"web", {1}}});
  add_uplink(plan, "web");
  EXPECT_EQ(seed_files(plan, "db").size(), 3u);
  auto files = seed_files(plan, "web");
  ASSERT_EQ(files.size(), 5u);
  EXPECT_EQ(files[3].path, "/etc/systemd/network/10-attest-uplink.network");
  EXPECT_EQ(files[3].content,
            "[Match]\n"
            "MACAddress=52:54:00:12:00:02\n"
            "Kind=!vlan bridge bond team macvlan ipvlan\n"
            "\n"
            "[Network]\n"
            "Address=10.0.2.15/24\n"
            "Gateway=10.0.2.2\n"
            "DNS=10.0.2.3\n"
            "DHCP=no\n"
            "IPv6AcceptRA=no\n"
            "LinkLocalAddressing=no\n"
            "LLMNR=no\n"
            "ConfigureWithoutCarrier=yes\n");
  EXPECT_EQ(files[4].path, "/etc/resolv.conf");
  EXPECT_EQ(files[4].content, "nameserver 10.0.2.3\n");
}

TEST(Uplink, StartsPasstWithAllThatItMustNotGuess) {
  EXPECT_EQ(uplink_command(),
            "said=$(passt --fd 0 --foreground --quiet -4 -i lo -m 1500 -t none -u none -n 24"
            " -a 10.0.2.15 -g 10.0.2.2 -M 52:54:00:12:00:fe --dns-forward 10.0.2.3"
            " 2>&1 >/dev/null); printf '%s\\n' \"$said\"");
}

TEST(Uplink, AsksForTheGatewaysAddress) {
  EXPECT_EQ(gateway_question(make_uplink(2)),
            "\0\0\0\x2a"
            "\xff\xff\xff\xff\xff\xff\x52\x54\x00\x12\x00\x02\x08\x06"
            "\x00\x01\x08\x00\x06\x04\x00\x01"
            "\x52\x54\x00\x12\x00\x02\x0a\x00\x02\x0f"
            "\0\0\0\0\0\0\x0a\x00\x02\x02"s);
}

// As Debian 12's passt has sent it.
const std::string answer =
    "\x52\x54\x00\x12\x00\x01\x52\x54\x00\x12\x00\xfe\x08\x06"
    "\x00\x01\x08\x00\x06\x04\x00\x02"
    "\x52\x54\x00\x12\x00\xfe\x0a\x00\x02\x02"
    "\x52\x54\x00\x12\x00\x01\x0a\x00\x02\x0f"s;

TEST(Uplink, KnowsTheAnswerFromOtherFrames) {
  EXPECT_TRUE(is_gateway_answer(answer));
  EXPECT_TRUE(is_gateway_answer(answer + std::string(18, '\0'))) << "padding";
  EXPECT_FALSE(is_gateway_answer(answer.substr(0, answer.size() - 1)));
  EXPECT_FALSE(is_gateway_answer(gateway_question(make_uplink(2)).substr(length_bytes)));
  EXPECT_FALSE(is_gateway_answer(""));
  for (std::size_t i : {13, 19, 21, 31}) {
    auto other = answer;
    ++other[i];
    EXPECT_FALSE(is_gateway_answer(other)) << "byte " << i;
  }
}

TEST(Uplink, TellsWordsFromFrames) {
  EXPECT_TRUE(is_text("sh: 1: passt: not found\n"));
  EXPECT_TRUE(is_text("\n")) << "it has said nothing";
  EXPECT_FALSE(is_text(encode_frame(answer)));
  EXPECT_FALSE(is_text(""));
}

struct Said {
  const char *name, *said, *kept;
};
class PasstWords : public testing::TestWithParam<Said> {};

TEST_P(PasstWords, AreWhatMatters) { EXPECT_EQ(passt_words(GetParam().said), GetParam().kept); }
INSTANTIATE_TEST_SUITE_P(
    , PasstWords,
    testing::Values(Said{"without_syslog",
                         "Failed to send 47 bytes to syslog\nDon't run as root. Changing to "
                         "nobody...\nFailed to send 36 bytes to syslog\nExternal interface not "
                         "usable\n\n",
                         "External interface not usable"},
                    Said{"missing", "sh: 1: passt: not found\n", "sh: 1: passt: not found"},
                    Said{"two_lines", "one\ntwo\x1b[1m\n", "one; two"}, Said{"nothing", "\n", ""}),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace attest::net
