// Many links at once, and changing what they are plugged into.
#include "lib/base/file.h"
#include "lib/net/kernel/netlink.h"
#include "lib/net/kernel/tap.h"
#include "tests/unit/net/own_network.h"

#include <gmock/gmock.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cstring>
#include <functional>
#include <optional>

namespace attest::net {
namespace {
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr auto bridge_mac = "52:54:00:12:01:fe";

class NetlinkBatchTest : public OwnNetwork {
 protected:
  static unsigned flags_of(const std::string& name) {
    base::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    base::check(::ioctl(socket.get(), SIOCGIFFLAGS, &request), "flags of " + name);
    return static_cast<unsigned short>(request.ifr_flags);
  }
  static std::string setting(const std::string& family, const std::string& name,
                             const std::string& key) {
    auto value = base::try_read_file("/proc/sys/net/" + family + "/conf/" + name + "/" + key);
    return value ? value->substr(0, value->find('\n')) : "none";
  }
  static void expect_quiet(const std::string& name) {
    SCOPED_TRACE(name);
    EXPECT_TRUE(flags_of(name) & IFF_NOARP);
    EXPECT_TRUE(flags_of(name) & IFF_UP);
    EXPECT_EQ(setting("ipv4", name, "rp_filter"), "1");
    EXPECT_NE(setting("ipv6", name, "disable_ipv6"), "0");
  }
  static BridgeLink bridge(int vlan) {
    auto v = std::to_string(vlan);
    return {.name = "br" + v,
            .mac = "52:54:00:12:0" + v + ":fe",
            .group = 7,
            .addresses = {"192.168." + v + ".254/24", "2001:db8:" + v + "::254/64"}};
  }
  /// A guest's end with an address, up.
  static Udp guest_at(const base::Fd& guest, const std::string& ip) {
    std::optional<Udp> socket;
    in_netns(guest, [&] {
      Netlink inside;
      inside.set_up("eth0");
      inside.add_address("eth0", ip, 24);
      socket.emplace(ip);
    });
    return std::move(*socket);
  }
};

TEST_F(NetlinkBatchTest, BridgesCablesAndAddressesAreUsableAtOnce) {
  Netlink netlink;
  base::Fd a = make_netns(), b = make_netns();
  netlink.make(
      {.bridges = {bridge(1), bridge(2)},
       .veths =
           {{.host_name = "a1", .bridge = "br1", .guest_netns = a.get()},
            {.host_name = "b2", .bridge = "br2", .guest_netns = b.get()},
            {.host_name = "b1", .bridge = "br1", .guest_name = "eth1", .guest_netns = b.get()}},
       .pairs = {{.name = "p1", .peer = "q1", .group = 7, .bridge = "br1"}}});
  for (auto* name : {"a1", "b2", "b1", "p1", "q1"}) expect_quiet(name);
  for (auto* name : {"br1", "br2"}) EXPECT_EQ(flags_of(name) & (IFF_UP | IFF_NOARP), IFF_UP);
  auto at_a = guest_at(a, "192.168.1.1"), at_b = guest_at(b, "192.168.2.2");
  Udp us1("192.168.1.254"), us2("192.168.2.254");
  EXPECT_TRUE(at_a.reaches(us1, "from a"));
  EXPECT_TRUE(us2.reaches(at_b, "to b"));
  if (setting("ipv6", "br1", "disable_ipv6") == "0") Udp("2001:db8:1::254");
  netlink.remove_group(7);
  EXPECT_THAT(netlink.names(), ElementsAre("lo")) << "all of them were of the group";
}

TEST_F(NetlinkBatchTest, MoreThanOneSystemCallTakes) {
  Netlink netlink;
  Links links{.bridges = {bridge(1)}};
  for (int i = 0; i < 130; ++i) {
    auto n = std::to_string(i);
    links.pairs.push_back({.name = "p" + n, .peer = "q" + n, .group = 7, .bridge = "br1"});
  }
  netlink.make(links);
  EXPECT_THAT(netlink.names("p"), SizeIs(130));
  expect_quiet("p129");
  expect_quiet("q0");
  netlink.remove_group(7);
  EXPECT_THAT(netlink.names(), ElementsAre("lo"));
}

TEST_F(NetlinkBatchTest, AFailureLeavesNothingAndNamesTheLink) {
  Netlink netlink;
  auto guest = make_netns();
  netlink.make_bridge("was", bridge_mac);
  auto wrong_address = bridge(2);
  wrong_address.addresses = {"192.168.2.x/24"};
  auto wrong_prefix = bridge(2);
  wrong_prefix.addresses = {"192.168.2.254/33"};
  Pair pair{.name = "p", .peer = "q"}, on_no_bridge = pair, on_no_bridge_ever = pair;
  on_no_bridge.bridge = "lo";
  on_no_bridge_ever.bridge = "nobody";
  Veth veth{.host_name = "host", .bridge = "br1", .guest_netns = guest.get()};
  struct {
    const char* what;
    Links links;
    std::vector<const char*> words;
  } cases[] = {
      {"a bridge that exists",
       {.bridges = {bridge(1), {.name = "was", .mac = bridge_mac}}, .veths = {veth}},
       {"making the bridge 'was': File exists"}},
      {"an address that is none",
       {.bridges = {bridge(1), wrong_address}, .veths = {veth}},
       {"giving 'br2' the address 192.168.2.x/24", "is no address"}},
      {"a prefix that is none",
       {.bridges = {bridge(1), wrong_prefix}, .veths = {veth}},
       {"giving 'br2' the address 192.168.2.254/33"}},
      {"a peer that exists",
       {.bridges = {bridge(1)}, .pairs = {pair, {.name = "r", .peer = "was"}}},
       {"making the pair of 'r' and 'was': File exists"}},
      {"what is no bridge", {.bridges = {bridge(1)}, .pairs = {on_no_bridge}}, {"'p' and 'q'"}},
      {"a bridge that is not there",
       {.bridges = {bridge(1)}, .pairs = {on_no_bridge_ever}},
       {"'p' and 'q'", "No such device"}},
      {"an interface that is not there",
       {.bridges = {bridge(1)}, .pairs = {pair}, .ends = {{.name = "tap9", .bridge = "br1"}}},
       {"plugging the interface 'tap9' into the bridge 'br1'", "No such device"}},
      {"two failures: the first is told",
       {.pairs = {{.name = "one", .peer = "was"}, {.name = "two", .peer = "was"}}},
       {"'one' and 'was'"}},
      {"a long name",
       {.bridges = {bridge(1)}, .pairs = {{.name = "p", .peer = "peer012345678901"}}},
       {"16 bytes", "15"}},
  };
  for (auto& row : cases) {
    SCOPED_TRACE(row.what);
    try {
      netlink.make(row.links);
      ADD_FAILURE() << "it was made";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::host);
      for (auto* word : row.words) EXPECT_THAT(error.what(), HasSubstr(word));
    }
    EXPECT_THAT(netlink.names(), UnorderedElementsAre("lo", "was"));
  }
  in_netns(guest, [] { EXPECT_THAT(Netlink().names("eth"), IsEmpty()); });
}

TEST_F(NetlinkBatchTest, ACableComesOffItsBridgeAndOnAgainWhileItIsUsed) {
  Netlink netlink;
  base::Fd guest = make_netns();
  netlink.make({.bridges = {bridge(1)},
                .veths = {{.host_name = "a1", .bridge = "br1", .guest_netns = guest.get()}}});
  auto inside = guest_at(guest, "192.168.1.1");
  Udp us("192.168.1.254");
  ASSERT_TRUE(inside.reaches(us, "on it"));
  netlink.set_master("a1", "");
  expect_quiet("a1");
  EXPECT_FALSE(inside.reaches(us, "off it", 5)) << "the kernel took what is not for it";
  netlink.set_master("a1", "br1");
  EXPECT_TRUE(inside.reaches(us, "on it again"));
  netlink.set_down("a1");
  EXPECT_FALSE(flags_of("a1") & IFF_UP);
}

// Off its bridge, an ordinary interface is one more way into this namespace.
TEST_F(NetlinkBatchTest, OnlyQuietenedInterfacesOffTheBridgeGiveNoAnswer) {
  Netlink netlink;
  base::Fd guest = make_netns();
  netlink.make(
      {.bridges = {bridge(1)}, .veths = {{.host_name = "a1", .guest_netns = guest.get()}}});
  auto inside = guest_at(guest, "192.168.1.1");
  Udp us("192.168.1.254");
  EXPECT_FALSE(inside.reaches(us, "quiet", 5));
  base::Fd loud_guest = make_netns();
  netlink.make({.veths = {{.host_name = "b1", .guest_netns = loud_guest.get()}}});
  // As the kernel makes it.
  base::write_once("/proc/sys/net/ipv4/conf/b1/rp_filter", "0");
  base::Fd ioctls(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "b1");
  request.ifr_flags = IFF_UP;
  base::check(::ioctl(ioctls.get(), SIOCSIFFLAGS, &request), "arp on");
  auto loud = guest_at(loud_guest, "192.168.1.2");
  EXPECT_TRUE(loud.reaches(us, "loud")) << "the kernel has changed: quieten() may not be needed";
  netlink.quieten("b1");
  expect_quiet("b1");
  EXPECT_FALSE(loud.reaches(us, "quiet now", 5));
}

TEST_F(NetlinkBatchTest, CountsFrames) {
  Netlink netlink;
  base::Fd guest = make_netns();
  netlink.make({.bridges = {bridge(1)},
                .veths = {{.host_name = "a1", .bridge = "br1", .guest_netns = guest.get()}}});
  auto before = netlink.counters("a1");
  auto inside = guest_at(guest, "192.168.1.1");
  Udp us("192.168.1.254");
  ASSERT_TRUE(inside.reaches(us, "there"));
  ASSERT_TRUE(us.reaches(inside, "and back"));
  auto after = netlink.counters("a1");
  EXPECT_GT(after.rx_frames, before.rx_frames);
  EXPECT_GT(after.tx_frames, before.tx_frames);
  EXPECT_EQ(after.rx_dropped, before.rx_dropped);
  try {
    netlink.counters("nobody");
    FAIL() << "there was one";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("'nobody'"), HasSubstr("No such device")));
  }
}

TEST_F(NetlinkBatchTest, SaysWhichChangeWasRefused) {
  Netlink netlink;
  netlink.make_bridge("br", bridge_mac);
  struct {
    std::function<void()> attempt;
    const char* words;
  } cases[] = {
      {[&] { netlink.set_master("nobody", "br"); }, "putting the interface 'nobody'"},
      {[&] { netlink.set_master("br", "nobody"); }, "on the bridge 'nobody': No such device"},
      {[&] { netlink.set_master("nobody", ""); }, "taking the interface 'nobody' off"},
      {[&] { netlink.set_down("nobody"); }, "setting the interface 'nobody' down"},
      {[&] { netlink.quieten("nobody"); }, "of the interface 'nobody'"},
  };
  for (auto& row : cases) {
    try {
      row.attempt();
      ADD_FAILURE() << row.words;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(row.words));
    }
  }
}

}  // namespace
}  // namespace attest::net
