#include "lib/net/kernel/netlink.h"

#include "lib/base/file.h"
#include "tests/unit/net/own_network.h"

#include <gmock/gmock.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <sys/stat.h>

#include <map>
#include <memory>

namespace attest::net {
namespace {
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr auto bridge_mac = "52:54:00:12:01:fe";

// What getifaddrs() says: flags and MAC by name.
struct Seen {
  unsigned flags = 0;
  std::string mac;
};
std::map<std::string, Seen> interfaces() {
  ifaddrs* list = nullptr;
  base::check(::getifaddrs(&list), "listing interfaces");
  std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, ::freeifaddrs);
  std::map<std::string, Seen> found;
  for (auto* item = list; item; item = item->ifa_next) {
    if (!item->ifa_addr || item->ifa_addr->sa_family != AF_PACKET) continue;
    auto* link = reinterpret_cast<sockaddr_ll*>(item->ifa_addr);
    char mac[18];
    auto* b = link->sll_addr;
    std::snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4],
                  b[5]);
    found[item->ifa_name] = {item->ifa_flags, mac};
  }
  return found;
}

std::string failure_of(const std::function<void()>& function) {
  try {
    function();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::host) << error.what();
    return error.what();
  }
  return "none";
}

ino_t inode_of_own_netns() {
  struct stat status{};
  base::check(::stat("/proc/thread-self/ns/net", &status), "stat");
  return status.st_ino;
}

class NetlinkTest : public OwnNetwork {
 protected:
  Veth veth(const std::string& name, const base::Fd& guest) {
    return {.host_name = name,
            .bridge = "br",
            .guest_mac = "52:54:00:12:01:01",
            .guest_netns = guest.get()};
  }
};

TEST_F(NetlinkTest, ANewNamespaceIsElsewhereAndHasItsLoopbackUp) {
  auto here = inode_of_own_netns();
  auto made = make_netns();
  EXPECT_EQ(inode_of_own_netns(), here);
  in_netns(made, [&] {
    EXPECT_NE(inode_of_own_netns(), here);
    EXPECT_TRUE(interfaces().at("lo").flags & IFF_UP);
    EXPECT_THAT(Netlink().names(), ElementsAre("lo"));
  });
}

TEST_F(NetlinkTest, ABridgeIsUpWithTheMacThatItWasGivenAndForwardsAtOnce) {
  Netlink netlink;
  netlink.make_bridge("br", bridge_mac);
  auto made = interfaces().at("br");
  EXPECT_TRUE(made.flags & IFF_UP);
  EXPECT_EQ(made.mac, bridge_mac);

  auto guest = make_netns();
  netlink.make_veth(veth("host", guest));
  EXPECT_EQ(interfaces().at("br").mac, bridge_mac) << "a port must not change it";
}

TEST_F(NetlinkTest, AVethIsOnTheBridgeHereAndHasItsNameAndMacInTheGuest) {
  auto guest = make_netns();
  Netlink netlink;
  netlink.make_bridge("br", bridge_mac);
  netlink.make_veth(veth("host", guest));
  EXPECT_THAT(netlink.names(), UnorderedElementsAre("lo", "br", "host"));
  EXPECT_TRUE(interfaces().at("host").flags & IFF_UP);
  in_netns(guest, [] {
    EXPECT_THAT(Netlink().names("eth"), ElementsAre("eth0"));
    EXPECT_EQ(interfaces().at("eth0").mac, "52:54:00:12:01:01");
    EXPECT_FALSE(interfaces().at("eth0").flags & IFF_UP);
  });
}

TEST_F(NetlinkTest, OurEndOfALinkHasNoIpv6) {
  auto guest = make_netns();
  Netlink netlink;
  netlink.make_bridge("br", bridge_mac);
  netlink.make_veth(veth("host", guest));
  auto value = base::try_read_file("/proc/sys/net/ipv6/conf/host/disable_ipv6");
  if (!value) GTEST_SKIP() << "this kernel has no IPv6";
  if (*value == "0\n") GTEST_SKIP() << "/proc/sys is read-only here";
  EXPECT_EQ(*value, "1\n");
  EXPECT_FALSE(netlink.add_address("host", "2001:db8:1::7", 64)) << "left out without a failure";
}

TEST_F(NetlinkTest, RemovingAVethTakesItsOtherEndAlongAndAnAbsentOneIsFine) {
  auto guest = make_netns();
  Netlink netlink;
  netlink.make_bridge("br", bridge_mac);
  netlink.make_veth(veth("host", guest));
  netlink.remove("host");
  netlink.remove("host");
  in_netns(guest, [] { EXPECT_THAT(Netlink().names("eth"), IsEmpty()); });
  netlink.remove("br");
  EXPECT_THAT(netlink.names(), ElementsAre("lo"));
}

TEST_F(NetlinkTest, RemovingAGroupTakesTheBridgeAndItsLinksAndNothingElse) {
  auto guest = make_netns(), other = make_netns();
  Netlink netlink;
  netlink.make_bridge("br", bridge_mac, 7);
  netlink.make_bridge("br2", "52:54:00:12:02:fe", 8);
  netlink.make_veth(veth("host", guest));
  auto elsewhere = veth("host2", other);
  elsewhere.bridge = "br2";
  netlink.make_veth(elsewhere);
  netlink.remove_group(7);
  netlink.remove_group(7);
  EXPECT_THAT(netlink.names(), UnorderedElementsAre("lo", "br2", "host2"));
  in_netns(guest, [] { EXPECT_THAT(Netlink().names("eth"), IsEmpty()); });
  netlink.remove_group(0);
  EXPECT_THAT(netlink.names(), UnorderedElementsAre("lo", "br2", "host2"));
}

TEST_F(NetlinkTest, SaysWhatTheKernelRefused) {
  auto guest = make_netns();
  Netlink netlink;
  netlink.make_bridge("br", bridge_mac);
  netlink.make_veth(veth("host", guest));
  base::Fd no_netns(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  struct {
    const char* what;
    std::function<void()> attempt;
    std::vector<const char*> words;
  } cases[] = {
      {"a name that exists",
       [&] { netlink.make_bridge("br", bridge_mac); },
       {"making the bridge 'br'", "File exists"}},
      {"a name of 16 bytes",
       [&] { netlink.make_bridge("bridge0123456789", bridge_mac); },
       {"'bridge0123456789'", "16 bytes", "15"}},
      {"a MAC that is none", [&] { netlink.make_bridge("br2", "x"); }, {"'x' is no address"}},
      {"no such interface",
       [&] { netlink.add_address("nobody", "192.168.1.254", 24); },
       {"giving 'nobody' the address 192.168.1.254/24", "No such device"}},
      {"an address twice",
       [&] {
         netlink.add_address("br", "192.168.1.254", 24);
         netlink.add_address("br", "192.168.1.254", 24);
       },
       {"'br'", "File exists"}},
      {"our end exists",
       [&] {
         auto other = make_netns();
         netlink.make_veth(veth("host", other));
       },
       {"'host'", "File exists"}},
      {"the guest's end exists",
       [&] { netlink.make_veth(veth("host2", guest)); },
       {"'eth0'", "File exists"}},
      {"no such bridge",
       [&] {
         auto wrong = veth("host3", guest);
         wrong.bridge = "br9";
         netlink.make_veth(wrong);
       },
       {"'host3'", "'br9'", "No such device"}},
      {"a descriptor that is no namespace",
       [&] { netlink.make_veth(veth("host4", no_netns)); },
       {"'host4'", "Invalid argument"}},
      {"nothing to set up", [&] { netlink.set_up("nobody"); }, {"'nobody'", "No such device"}},
  };
  for (auto& row : cases) {
    SCOPED_TRACE(row.what);
    auto text = failure_of(row.attempt);
    for (auto* word : row.words) EXPECT_THAT(text, HasSubstr(word));
  }
  EXPECT_THAT(netlink.names(), UnorderedElementsAre("lo", "br", "host")) << "nothing is half-made";
}

TEST_F(NetlinkTest, WithoutPermissionItSaysWhatIsNeeded) {
  on_a_thread([] {
    drop_capabilities();
    auto text = failure_of([] { Netlink().make_bridge("br", bridge_mac); });
    EXPECT_THAT(text, HasSubstr("'br': Operation not permitted"));
    EXPECT_THAT(text, HasSubstr("CAP_NET_ADMIN"));
    EXPECT_THAT(failure_of([] { make_netns(); }), HasSubstr("--attest_sandbox=auto"));
  });
  EXPECT_THAT(Netlink().names("br"), IsEmpty());
}

TEST_F(NetlinkTest, GuestsOnABridgeReachEachOtherAndUs) {
  Netlink netlink;
  netlink.make_bridge("br", bridge_mac);
  netlink.add_address("br", "192.168.1.254", 24);
  bool ipv6 = netlink.add_address("br", "2001:db8:1::254", 64);
  base::Fd guests[] = {make_netns(), make_netns()};
  std::vector<Udp> four, six;
  for (int i = 0; i < 2; ++i) {
    auto number = std::to_string(i + 1);
    auto link = veth("host" + number, guests[i]);
    link.guest_mac = "52:54:00:12:01:0" + number;
    netlink.make_veth(link);
    in_netns(guests[i], [&] {
      Netlink inside;
      inside.set_up("eth0");
      inside.add_address("eth0", "192.168.1." + number, 24);
      four.emplace_back("192.168.1." + number);
      if (!ipv6) return;
      inside.add_address("eth0", "2001:db8:1::" + number, 64);
      six.emplace_back("2001:db8:1::" + number);
    });
  }
  EXPECT_TRUE(four[0].reaches(four[1], "from one to two"));
  EXPECT_TRUE(four[1].reaches(four[0], "and back"));
  Udp us("192.168.1.254");
  EXPECT_TRUE(four[0].reaches(us, "to the test"));
  EXPECT_TRUE(us.reaches(four[1], "from the test"));
  if (!ipv6) return;
  EXPECT_TRUE(six[0].reaches(six[1], "from one to two"));
  EXPECT_TRUE(six[1].reaches(Udp("2001:db8:1::254"), "to the test"));
}

}  // namespace
}  // namespace attest::net
