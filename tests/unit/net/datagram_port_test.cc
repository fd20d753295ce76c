#include "lib/net/switching/datagram_port.h"

#include "lib/net/kernel/offload.h"
#include "lib/net/switching/packet_socket.h"
#include "tests/unit/net/hub.h"
#include "tests/unit/net/own_network.h"

#include <gmock/gmock.h>
#include <net/if.h>
#include <netlink/route/link/veth.h>
#include <sys/ioctl.h>

#include <fstream>

namespace attest::net {
namespace {

using testing::HasSubstr;

void set_link(const std::string& name, bool up) {
  base::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  name.copy(request.ifr_name, sizeof request.ifr_name - 1);
  base::check(::ioctl(socket.get(), SIOCGIFFLAGS, &request), "SIOCGIFFLAGS");
  request.ifr_flags =
      static_cast<short>(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
  base::check(::ioctl(socket.get(), SIOCSIFFLAGS, &request), "SIOCSIFFLAGS");
}

// Sends until the last that was sent arrives: a cable that is up loses frames without a word until
// the kernel has found out that it is. Nothing is on the way afterwards.
bool reaches(const Wire& from, const Wire& to) {
  for (int attempt = 0; attempt < 300; ++attempt) {
    auto probe = frame(2, 1, "can you hear me? " + std::to_string(attempt));
    from.send(probe);
    while (auto got = to.receive_within(100))
      if (got == probe) return true;
  }
  return false;
}

// left plug - port - hub - port on "near" === "far" - port - hub - port - right plug.
// The frames of both plugs are bytes as they are, and whatever the kernel does is between them.
class Cable : public OwnNetwork {
 protected:
  void SetUp() override {
    OwnNetwork::SetUp();
    if (IsSkipped()) return;
    // No frames but the test's: the kernel looks for routers on interfaces with IPv6.
    for (const char* who : {"all", "default"})
      std::ofstream("/proc/sys/net/ipv6/conf/" + std::string(who) + "/disable_ipv6") << 1;
    NetlinkSocket netlink;
    netlink.check(::rtnl_link_veth_add(netlink.get(), "near", "far", ::gettid()), "making a cable");
    for (const char* end : {"near", "far"}) set_link(end, true);
  }
  void connect() {
    near_ = connect(near_hub_, left_, "near");
    far_ = connect(far_hub_, right_, "far");
  }
  void connect_and_wait() {
    connect();
    ASSERT_TRUE(reaches(*left_, *right_) && reaches(*right_, *left_));
    sent_before_ = near_hub_.sent(near_);
  }
  static std::size_t connect(Hub& hub, std::optional<Wire>& plug, const char* interface) {
    auto [ours, theirs] = Wire::make();
    plug.emplace(std::move(ours));
    hub.join(std::move(theirs));
    return hub.join(open_packet_socket(interface));
  }
  async::Loop loop_;
  Hub near_hub_{loop_}, far_hub_{loop_};
  std::optional<Wire> left_, right_;
  std::size_t near_ = 0, far_ = 0;
  PortStats sent_before_;
};

std::string tagged(std::uint16_t type, std::uint16_t control, const std::string& payload) {
  auto plain = frame(2, 1, payload);
  auto big_endian = [](std::uint16_t value) {
    return std::string{static_cast<char>(value >> 8), static_cast<char>(value & 0xff)};
  };
  return plain.substr(0, 12) + big_endian(type) + big_endian(control) + plain.substr(12);
}

TEST_F(Cable, CarriesFramesBothWaysAsTheyAre) {
  connect_and_wait();
  for (int i = 0; i < 200; ++i) {
    auto there = frame(2, 1, "to the right " + std::to_string(i)), back = frame(1, 2, "and back");
    left_->send(there);
    ASSERT_EQ(right_->receive(), there);
    right_->send(back);
    ASSERT_EQ(left_->receive(), back);
  }
  EXPECT_EQ(near_hub_.sent(near_).frames_out - sent_before_.frames_out, 200u);
  EXPECT_EQ(near_hub_.sent(near_).dropped, sent_before_.dropped);
}

TEST_F(Cable, KeepsVlanTagsThatTheKernelTakesOut) {
  connect_and_wait();
  auto plain = frame(2, 1, std::string(60, 'p'));
  for (auto& one : {tagged(0x8100, 5, "vlan 5"), tagged(0x8100, 0xe005, "priority 7"), plain,
                    tagged(0x8100, 0, "priority only"), tagged(0x88a8, 7, "a provider's"),
                    tagged(0x8100, 6, std::string(1500, 'x'))}) {
    left_->send(one);
    EXPECT_EQ(right_->receive(), one);
    right_->send(one);
    EXPECT_EQ(left_->receive(), one);
  }
}

TEST_F(Cable, GoesOnWhenALinkHasBeenDown) {
  connect_and_wait();
  for (const char* end : {"near", "far"}) {
    set_link(end, false);
    left_->send(frame(2, 1, "lost"));
    EXPECT_EQ(right_->receive_within(50), std::nullopt);
    set_link(end, true);
    EXPECT_TRUE(reaches(*left_, *right_)) << end;
  }
  EXPECT_GE(near_hub_.sent(near_).dropped, sent_before_.dropped + 1);
  EXPECT_EQ(near_hub_.ended() + far_hub_.ended(), 0);
}

TEST_F(Cable, WaitsForAnInterfaceThatIsDownAtFirst) {
  set_link("near", false);
  connect();
  EXPECT_EQ(near_hub_.ended(), 0);
  set_link("near", true);
  EXPECT_TRUE(reaches(*left_, *right_));
}

TEST_F(Cable, EndsWhenItsInterfaceIsRemoved) {
  connect_and_wait();
  Netlink().remove("far");
  EXPECT_TRUE(eventually([&] { return near_hub_.ended() == 1 && far_hub_.ended() == 1; }));
}

TEST_F(Cable, EndsWhenItsInterfaceGoesToAnotherNamespace) {
  connect_and_wait();
  auto elsewhere = make_netns();
  NetlinkSocket netlink;
  auto* change = ::rtnl_link_alloc();
  ::rtnl_link_set_ns_fd(change, elsewhere.get());
  rtnl_link* far = nullptr;
  netlink.check(::rtnl_link_get_kernel(netlink.get(), 0, "far", &far), "finding the end");
  netlink.check(::rtnl_link_change(netlink.get(), far, change, 0), "moving the end");
  ::rtnl_link_put(far);
  ::rtnl_link_put(change);
  EXPECT_TRUE(eventually([&] { return far_hub_.ended() == 1; }));
  EXPECT_EQ(near_hub_.ended(), 0) << "the other end is only down";
}

TEST_F(Cable, LosesWhatIsTooLongForTheInterfaceAndNothingElse) {
  connect_and_wait();
  left_->send(frame(2, 1, std::string(5000, 'x')));
  left_->send(frame(2, 1, "short"));
  EXPECT_EQ(right_->receive(), frame(2, 1, "short"));
  EXPECT_EQ(near_hub_.sent(near_).dropped - sent_before_.dropped, 1u);
  EXPECT_EQ(near_hub_.sent(near_).frames_out - sent_before_.frames_out, 1u);
}

TEST_F(Cable, HearsItsOwnInterfaceOnly) {
  NetlinkSocket netlink;
  netlink.check(::rtnl_link_veth_add(netlink.get(), "other", "other2", ::gettid()), "a cable");
  set_link("other", true);
  set_link("other2", true);
  connect_and_wait();
  Hub out(loop_), in(loop_);
  std::optional<Wire> sender, reader;
  connect(out, sender, "other2");
  connect(in, reader, "other");
  ASSERT_TRUE(reaches(*sender, *reader));
  sender->send(frame(2, 1, "elsewhere"));
  EXPECT_EQ(reader->receive(), frame(2, 1, "elsewhere"));
  left_->send(frame(2, 1, "here"));
  EXPECT_EQ(right_->receive(), frame(2, 1, "here"));
}

// RFC 1071 over a UDP packet and its pseudo header: 0xffff if the checksum is right.
unsigned udp_sum(const std::string& ethernet) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(ethernet[14 + i]); };
  const std::size_t header = (byte(0) & 0xf) * 4u,
                    length = byte(header + 4) * 256u + byte(header + 5);
  unsigned sum = IPPROTO_UDP + static_cast<unsigned>(length);
  for (std::size_t i = 12; i < 20; ++i) sum += byte(i) * (i % 2 ? 1u : 256u);
  for (std::size_t i = 0; i < length; ++i) sum += byte(header + i) * (i % 2 ? 1u : 256u);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

TEST_F(Cable, GetsWholeChecksumsFromAnEndWithoutOffloads) {
  connect(near_hub_, left_, "near");
  Netlink().add_address("far", "192.168.1.1", 24);
  base::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
  sockaddr_in all{.sin_family = AF_INET, .sin_port = htons(7)};
  ::inet_pton(AF_INET, "192.168.1.255", &all.sin_addr);
  auto sum = [&] {
    for (;;) {
      ::sendto(socket.get(), "hello", 5, 0, reinterpret_cast<sockaddr*>(&all), sizeof all);
      if (auto got = left_->receive_within(100)) return udp_sum(*got);
    }
  };
  EXPECT_NE(sum(), 0xffffu) << "the kernel finishes checksums by itself now";
  disable_offloads("far");
  EXPECT_EQ(sum(), 0xffffu);
}

TEST_F(Cable, RefusesToOpenWhatIsNotThere) {
  try {
    open_packet_socket("nowhere0");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("opening the interface 'nowhere0': No such device"));
  }
}

TEST_F(Cable, SaysWhatOpeningNeeds) {
  on_a_thread([&] {
    drop_capabilities();
    try {
      open_packet_socket("near");
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::host);
      EXPECT_THAT(error.what(), HasSubstr("CAP_NET_RAW"));
    }
  });
}

class DatagramPorts : public testing::Test {
 protected:
  Wire join() {
    auto [ours, theirs] = Wire::make();
    hub_.join(std::move(theirs));
    return std::move(ours);
  }
  async::Loop loop_;
  Hub hub_{loop_};
};

TEST_F(DatagramPorts, DropFramesForAPeerThatDoesNotReadAndHoldUpNoOther) {
  auto sender = join(), reader = join(), stuck = join();
  const int count = 6000;
  std::string payload(1400, 'x');
  for (int i = 0; i < count; ++i) {
    sender.send(frame(0xff, 1, std::to_string(i) + " " + payload));
    ASSERT_EQ(reader.receive(), frame(0xff, 1, std::to_string(i) + " " + payload));
  }
  // The port that is behind is sent to last: what the reader has, it may not have yet.
  EXPECT_TRUE(eventually([&] {
    auto now = hub_.sent(2);
    return now.frames_out + now.dropped == static_cast<unsigned>(count);
  }));
  auto after = hub_.sent(2);
  EXPECT_EQ(hub_.sent(1).dropped, 0u);
  EXPECT_GT(after.dropped, 0u);
  EXPECT_GT(after.queued_bytes, OutQueue::limit / 2);
  EXPECT_LE(after.queued_bytes, OutQueue::limit);

  // What it finds when it wakes up is in order, and then come new ones.
  int last = -1;
  for (std::uint64_t i = 0; i < after.frames_out; ++i) {
    int number = std::stoi(stuck.receive().substr(14));
    ASSERT_GT(number, last);
    last = number;
  }
  sender.send(frame(0xff, 1, "awake?"));
  EXPECT_EQ(stuck.receive(), frame(0xff, 1, "awake?"));
  EXPECT_EQ(hub_.sent(2).queued_bytes, 0u);
}

TEST_F(DatagramPorts, DiscardWhatIsTooLongToReceive) {
  auto sender = join(), reader = join();
  sender.send(frame(0xff, 1, std::string(DatagramPort::longest_frame - 13, 'y')));
  auto longest = frame(0xff, 1, std::string(DatagramPort::longest_frame - 14, 'x'));
  sender.send("");  // nothing at all
  sender.send(longest);
  EXPECT_EQ(reader.receive(), longest);
  EXPECT_EQ(hub_.sent(0).discarded, 1u);
}

TEST_F(DatagramPorts, EndWhenThePeerIsGoneAndSomethingIsSentToIt) {
  auto sender = join(), gone = join(), reader = join();
  gone.close();
  sender.send(frame(0xff, 1, "for all"));
  EXPECT_EQ(reader.receive(), frame(0xff, 1, "for all"));
  EXPECT_TRUE(eventually([&] { return hub_.ended() == 1; }));
  sender.send(frame(0xff, 1, "for the rest"));
  EXPECT_EQ(reader.receive(), frame(0xff, 1, "for the rest"));
}

TEST_F(DatagramPorts, EndTheirCoroutinesWhenClosed) {
  auto first = join(), second = join();
  for (int i = 0; i < 4; ++i) first.send(frame(0xff, 1, std::string(1400, 'x')));
  hub_.close(0);
  hub_.close(1);
  EXPECT_TRUE(eventually([&] { return hub_.ended() == 2; }));
}

}  // namespace
}  // namespace attest::net
