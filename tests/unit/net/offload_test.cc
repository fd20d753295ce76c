#include "lib/net/kernel/offload.h"

#include "tests/unit/net/own_network.h"

#include <gmock/gmock.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace attest::net {
namespace {
using testing::HasSubstr;

constexpr std::size_t sent_bytes = 2 * 1024 * 1024;

std::uint32_t add_words(const unsigned char* bytes, std::size_t count, std::uint32_t sum = 0) {
  for (std::size_t i = 0; i < count; ++i)
    sum += i % 2 ? bytes[i] : static_cast<std::uint32_t>(bytes[i]) << 8;
  return sum;
}

// Of TCP over IPv4 without IP options, behind an Ethernet header; RFC 793, 3.1.
bool tcp_checksum_is_right(const std::vector<unsigned char>& frame) {
  const auto* ip = &frame[14];
  std::size_t size = static_cast<std::size_t>(ip[2] << 8 | ip[3]) - 20;
  auto sum = add_words(ip + 12, 8) + IPPROTO_TCP + static_cast<std::uint32_t>(size);
  sum = add_words(ip + 20, size, sum);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return sum == 0xffff;
}

// Everything that comes out of the cable at `interface` of this thread's namespace.
class Reader {
 public:
  explicit Reader(const char* interface)
      : socket_(base::check(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)),
                            "a raw socket")) {
    int room = 32 * 1024 * 1024;
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(::if_nametoindex(interface));
    base::check(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
                "binding to an interface");
  }
  std::vector<std::vector<unsigned char>> received() const {
    std::vector<std::vector<unsigned char>> frames;
    std::vector<unsigned char> buffer(70000);
    sockaddr_ll from{};
    for (;;) {
      socklen_t size = sizeof from;
      auto got = ::recvfrom(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT,
                            reinterpret_cast<sockaddr*>(&from), &size);
      if (got < 0) return frames;
      if (from.sll_pkttype != PACKET_OUTGOING) frames.emplace_back(&buffer[0], &buffer[got]);
    }
  }

 private:
  base::Fd socket_;
};

sockaddr_in at(const char* ip) {
  sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(80)};
  ::inet_pton(AF_INET, ip, &address.sin_addr);
  return address;
}

class OffloadTest : public OwnNetwork {
 protected:
  void SetUp() override {
    OwnNetwork::SetUp();
    if (IsSkipped()) return;
    guest_ = make_netns();
    Netlink netlink;
    // Our end has an address of its own, so that it is not a mere cable end.
    netlink.make({.veths = {{.host_name = "host", .guest_netns = guest_.get()}}});
    base::Fd ioctls(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{.ifr_ifrn = {"host"}, .ifr_ifru = {}};
    request.ifr_flags = IFF_UP;
    base::check(::ioctl(ioctls.get(), SIOCSIFFLAGS, &request), "ARP on");
    netlink.add_address("host", "192.168.1.254", 24);
    in_netns(guest_, [] {
      Netlink inside;
      inside.set_up("eth0");
      inside.add_address("eth0", "192.168.1.1", 24);
    });
  }

  // Frames of TCP that came from the guest while it sent large writes to us.
  std::vector<std::vector<unsigned char>> frames_of_a_transfer() {
    base::Fd listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    auto us = at("192.168.1.254");
    base::check(::bind(listening.get(), reinterpret_cast<sockaddr*>(&us), sizeof us), "bind");
    base::check(::listen(listening.get(), 1), "listen");
    Reader reader("host");
    std::thread sender([&] {
      in_netns(guest_, [&] {
        base::Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        base::check(::connect(socket.get(), reinterpret_cast<sockaddr*>(&us), sizeof us), "dial");
        std::vector<char> bytes(sent_bytes, 'x');
        for (std::size_t sent = 0; sent < bytes.size();)
          sent += static_cast<std::size_t>(base::check(
              static_cast<int>(::send(socket.get(), &bytes[sent], bytes.size() - sent, 0)),
              "sending"));
      });
    });
    base::Fd accepted(::accept(listening.get(), nullptr, nullptr));
    std::vector<char> buffer(65536);
    std::size_t got = 0;
    for (ssize_t n = 0; (n = ::read(accepted.get(), buffer.data(), buffer.size())) > 0;)
      got += static_cast<std::size_t>(n);
    sender.join();
    EXPECT_EQ(got, sent_bytes);
    auto frames = reader.received();
    std::erase_if(frames, [](auto& frame) {
      return frame.size() < 54 || frame[12] != 8 || frame[13] != 0 || frame[23] != IPPROTO_TCP;
    });
    return frames;
  }

  base::Fd guest_;
};

std::size_t longest(const std::vector<std::vector<unsigned char>>& frames) {
  std::size_t most = 0;
  for (auto& frame : frames) most = std::max(most, frame.size());
  return most;
}

TEST_F(OffloadTest, WholeFramesLeaveAnInterfaceWithoutThem) {
  in_netns(guest_, [] { disable_offloads("eth0"); });
  auto frames = frames_of_a_transfer();
  EXPECT_GE(frames.size(), sent_bytes / 1500);
  EXPECT_LE(longest(frames), 1514U);
  EXPECT_TRUE(std::all_of(frames.begin(), frames.end(), tcp_checksum_is_right));
}

// Or the test above would prove nothing; and it is the sending end that counts.
TEST_F(OffloadTest, TheReceivingEndsOwnSettingDoesNotHelp) {
  disable_offloads("host");
  auto frames = frames_of_a_transfer();
  EXPECT_GT(longest(frames), 1514U);
  EXPECT_FALSE(std::all_of(frames.begin(), frames.end(), tcp_checksum_is_right));
}

TEST_F(OffloadTest, TwiceIsFineAndAnUnknownInterfaceIsNamed) {
  disable_offloads("host");
  disable_offloads("host");
  try {
    disable_offloads("nobody");
    FAIL() << "there was one";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::host);
    EXPECT_THAT(error.what(), HasSubstr("of the interface 'nobody' off: No such device"));
  }
}

}  // namespace
}  // namespace attest::net
