#include "lib/net/kernel/tap.h"

#include "tests/unit/net/own_network.h"

#include <gmock/gmock.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <vector>

namespace attest::net {
namespace {
using testing::AllOf;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class TapTest : public OwnNetwork {
 protected:
  void SetUp() override {
    OwnNetwork::SetUp();
    if (IsSkipped()) return;
    if (!why_no_tap().empty()) GTEST_SKIP() << why_no_tap();
  }
};

void expect_refused(const std::function<void()>& attempt, Error::Kind kind,
                    const std::vector<const char*>& words) {
  try {
    attempt();
    ADD_FAILURE() << words.front();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    for (auto* word : words) EXPECT_THAT(error.what(), HasSubstr(word));
  }
}

TEST_F(TapTest, GoesWithItsDescriptorUnlessItIsPersistent) {
  Netlink netlink;
  auto tap = open_tap("tap1"), kept = open_tap("tap2", true);
  EXPECT_THAT(netlink.names("tap"), ElementsAre("tap1", "tap2"));
  tap.reset();
  kept.reset();
  EXPECT_THAT(netlink.names("tap"), ElementsAre("tap2"));
  kept = open_tap("tap2");  // which attaches to it, as a monitor does
  netlink.remove("tap2");
  EXPECT_THAT(netlink.names("tap"), IsEmpty());
}

TEST_F(TapTest, WholeFramesGoBetweenTwoOnABridge) {
  Netlink netlink;
  auto one = open_tap("tap1"), two = open_tap("tap2");
  netlink.make({.bridges = {{.name = "br", .mac = "52:54:00:12:01:fe", .group = 7}},
                .ends = {{.name = "tap1", .bridge = "br"}, {.name = "tap2", .bridge = "br"}}});
  std::array<unsigned char, 60> frame{};
  frame.fill(0xab);
  std::fill_n(frame.begin(), 6, 0xff);
  unsigned char from[] = {0x52, 0x54, 0, 0x12, 1, 1};
  std::copy(std::begin(from), std::end(from), frame.begin() + 6);
  frame[12] = 0x88;  // an EtherType for experiments
  frame[13] = 0xb5;
  ASSERT_EQ(::write(one.get(), frame.data(), frame.size()), 60);
  pollfd ready{.fd = two.get(), .events = POLLIN, .revents = 0};
  std::array<unsigned char, 2000> got{};
  ssize_t size = 0;
  do {
    ASSERT_EQ(::poll(&ready, 1, 5000), 1) << "the frame did not come";
    size = ::read(two.get(), got.data(), got.size());
  } while (size > 13 && (got[12] != 0x88 || got[13] != 0xb5));
  ASSERT_EQ(size, 60) << "there is nothing before or behind it";
  EXPECT_TRUE(std::equal(frame.begin(), frame.end(), got.begin()));
  EXPECT_EQ(netlink.counters("tap1").rx_frames, 1U);
  netlink.remove_group(7);
  EXPECT_THAT(netlink.names("tap"), IsEmpty()) << "with descriptors that are open still";
}

TEST_F(TapTest, SaysWhyNot) {
  Netlink netlink;
  auto held = open_tap("tap1");
  netlink.make_bridge("br", "52:54:00:12:01:fe");
  using enum Error::Kind;
  expect_refused([] { open_tap("tap1"); }, host, {"the TAP 'tap1'", "busy", "another descriptor"});
  expect_refused([] { open_tap("br"); }, host, {"the TAP 'br'", "Invalid argument"});
  expect_refused([] { open_tap("tap4567890123456"); }, host, {"16 bytes", "15"});
  expect_refused([] { open_tap(""); }, host, {"0 bytes"});
}

TEST_F(TapTest, WithoutPermissionItSaysWhatIsNeeded) {
  on_a_thread([] {
    drop_capabilities();
    // Which of the two depends on the rights of the device file.
    try {
      open_tap("tap1");
      ADD_FAILURE() << "it was made";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::unsupported);
      EXPECT_THAT(error.what(),
                  AnyOf(AllOf(HasSubstr("not permitted"), HasSubstr("--attest_sandbox=auto")),
                        AllOf(HasSubstr("/dev/net/tun: Permission denied"), HasSubstr("chmod"))));
    }
  });
}

TEST(Tap, TheProbeAgreesWithWhatThisHostHas) {
  if (!std::filesystem::exists("/dev/net/tun"))
    EXPECT_THAT(why_no_tap(),
                AllOf(HasSubstr("opening /dev/net/tun: No such file"),
                      HasSubstr("extra-sandbox-paths = /dev/net"), HasSubstr("modprobe tun")));
  else
    EXPECT_THAT(why_no_tap(), AnyOf(IsEmpty(), HasSubstr("hint: ")));
}

}  // namespace
}  // namespace attest::net
