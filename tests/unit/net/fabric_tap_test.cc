// Machines whose monitors open TAPs with a virtio-net header, as Firecracker and Cloud Hypervisor
// do: their guests leave segments and checksums to others. The test is the monitor.
#include "tests/unit/net/own_network.h"
#include "tests/unit/net/running_fabric.h"

#include "lib/net/kernel/tap.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <cstdint>
#include <set>

namespace attest::net {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// virtio_net_hdr_v1; the kernel's own header has a member named `class`.
struct VnetHeader {
  std::uint8_t flags = 0, gso_type = 0;
  std::uint16_t hdr_len = 0, gso_size = 0, csum_start = 0, csum_offset = 0, num_buffers = 0;
};
constexpr std::uint8_t needs_checksum = 1, tcp_over_ipv4 = 1;

constexpr std::size_t segment = 1448;
constexpr std::size_t headers = 14 + 20 + 20;

std::uint32_t add_words(std::string_view bytes, std::uint32_t sum = 0) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::uint32_t byte = static_cast<unsigned char>(bytes[i]);
    sum += i % 2 ? byte : byte << 8;
  }
  return sum;
}
std::uint16_t folded(std::uint32_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}
std::string word(std::size_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}
// Of TCP over IPv4 without options: what the pseudo header adds up to.
std::uint32_t pseudo(std::string_view ip, std::size_t tcp_size) {
  return add_words(ip.substr(12, 8), static_cast<std::uint32_t>(IPPROTO_TCP + tcp_size));
}

// A TCP frame of any size, as a guest with TSO gives it: the checksum is the pseudo header's only.
std::string large_frame(int from, const std::string& payload) {
  std::string ip = std::string("\x45\0", 2) + word(40 + payload.size()) +
                   std::string("\0\1\x40\0\x40\6\0\0\xc0\xa8\1\1\xc0\xa8\1\2", 16);
  auto sum = word(static_cast<std::uint16_t>(~folded(add_words(ip))));
  ip.replace(10, 2, sum);
  std::string tcp = word(80) + word(81) + std::string("\0\0\0\1\0\0\0\1\x50\x10\xff\xff", 12) +
                    word(folded(pseudo(ip, 20 + payload.size()))) + word(0);
  return frame(0xff, from, ip + tcp + payload);
}

// Of an EtherType for experiments: a bridge of a host with br_netfilter drops what only claims to
// be IPv4.
std::string small_frame(int from, std::string_view text) {
  auto made = frame(0xff, from, text);
  return made.replace(12, 2, "\x88\xb5");
}

bool is_tcp(std::string_view frame) {
  return frame.size() > headers && frame.substr(12, 2) == std::string_view("\x08\0", 2) &&
         frame[14 + 9] == IPPROTO_TCP;
}
bool checksum_is_right(std::string_view frame) {
  auto ip = frame.substr(14);
  auto tcp = ip.substr(
      20, static_cast<unsigned char>(ip[2]) * 256u + static_cast<unsigned char>(ip[3]) - 20);
  return folded(add_words(tcp, pseudo(ip, tcp.size()))) == 0xffff;
}

// A monitor that attaches to a TAP with IFF_VNET_HDR, and can all that guests can.
class Monitor {
 public:
  explicit Monitor(base::Fd tap) : tap_(std::move(tap)) { prepare(); }
  explicit Monitor(const std::string& name) {
    tap_.reset(base::check(::open("/dev/net/tun", O_RDWR | O_CLOEXEC), "opening /dev/net/tun"));
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    base::check(::ioctl(tap_.get(), TUNSETIFF, &request), "attaching to " + name);
    prepare();
  }

  void send(std::string frame, bool to_cut) const {
    VnetHeader header;
    if (to_cut) {
      header.flags = needs_checksum;
      header.gso_type = tcp_over_ipv4;
      header.hdr_len = headers;
      header.gso_size = segment;
      header.csum_start = 14 + 20;
      header.csum_offset = 16;
    }
    iovec parts[] = {{&header, sizeof header}, {frame.data(), frame.size()}};
    base::check(static_cast<int>(::writev(tap_.get(), parts, 2)), "writing to a TAP");
  }
  /// The next frame that holds `text`; "" after 20 s.
  std::string receive(std::string_view text) const {
    for (;;) {
      pollfd ready{.fd = tap_.get(), .events = POLLIN, .revents = 0};
      if (::poll(&ready, 1, 20'000) != 1) return {};
      std::string buffer(70'000, '\0');
      auto count = ::read(tap_.get(), buffer.data(), buffer.size());
      if (count <= static_cast<ssize_t>(sizeof(VnetHeader))) return {};
      buffer.resize(static_cast<std::size_t>(count));
      buffer.erase(0, sizeof(VnetHeader));
      if (buffer.find(text) != buffer.npos) return buffer;
    }
  }

 private:
  void prepare() const {
    int size = sizeof(VnetHeader);
    base::check(::ioctl(tap_.get(), TUNSETVNETHDRSZ, &size), "the size of the header");
    base::check(::ioctl(tap_.get(), TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4), "its offloads");
  }
  base::Fd tap_;
};

class FabricTap : public OwnNetwork {
 protected:
  void SetUp() override {
    OwnNetwork::SetUp();
    if (IsSkipped()) return;
    if (!why_no_tap().empty()) GTEST_SKIP() << why_no_tap();
  }
  static FabricSetup setup(Realisation realisation) {
    FabricSetup made;
    made.own_network = true;
    made.realisation = realisation;
    return made;
  }
  // The interfaces of drivers that there are.
  static std::vector<std::string> interfaces() { return Netlink().names("at"); }
};

const std::string bytes = [] {
  std::string made(10'000, '\0');
  for (std::size_t i = 0; i < made.size(); ++i) made[i] = static_cast<char>('a' + i * 7 % 23);
  return made;
}();

// Of the large frame with `bytes`, as it arrives: in pieces, whole, in order.
void expect_pieces(const std::function<std::string()>& next_frame) {
  std::string arrived;
  while (arrived.size() < bytes.size()) {
    auto one = next_frame();
    ASSERT_NE(one, "") << arrived.size() << " bytes have come";
    if (!is_tcp(one)) continue;
    EXPECT_LE(one.size(), headers + segment);
    EXPECT_TRUE(checksum_is_right(one));
    arrived += one.substr(headers);
  }
  EXPECT_EQ(arrived, bytes);
}

TEST_F(FabricTap, LargeFramesAreCutForTheSwitchInThisProcess) {
  RunningFabric fabric({{"micro", {1}}, {"vm", {1}}}, {{"micro", Wiring::tap}},
                       setup(Realisation::process));
  fabric.start();
  auto nic = fabric.attachment("micro");
  auto vm = fabric.join_stream("vm");
  fabric.loop([&](Fabric& f) { f.plugs("micro")->make_tap(nic); });
  Monitor monitor(nic.interface);
  monitor.send(large_frame(1, bytes), true);
  expect_pieces([&] { return vm.receive().value_or(""); });
  vm.send(small_frame(2, "and back"));
  EXPECT_EQ(monitor.receive("and back").substr(0, 22), small_frame(2, "and back"));
}

TEST_F(FabricTap, LargeFramesAreCutForWhoeverIsOnTheBridge) {
  RunningFabric fabric({{"micro", {1}}, {"vm", {1}}},
                       {{"micro", Wiring::tap}, {"vm", Wiring::stream}},
                       setup(Realisation::kernel));
  fabric.start();
  auto nic = fabric.attachment("micro"), other = fabric.attachment("vm");
  base::Fd tap(fabric.loop([&](Fabric& f) { return f.plugs("micro")->open_tap(nic, true); }));
  base::Fd vm(fabric.loop([&](Fabric& f) { return f.plugs("vm")->open_tap(other); }));
  Monitor monitor(std::move(tap));
  monitor.send(large_frame(1, bytes), true);
  expect_pieces([&]() -> std::string {
    pollfd ready{.fd = vm.get(), .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, 20'000) != 1) return {};
    std::string buffer(70'000, '\0');
    auto count = ::read(vm.get(), buffer.data(), buffer.size());
    buffer.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    return buffer;
  });
}

TEST_F(FabricTap, AVlanThatMovesIntoTheProcessTakesItAlong) {
  RunningFabric fabric({{"micro", {1}}}, {{"micro", Wiring::tap}}, setup(Realisation::automatic));
  fabric.start();
  auto nic = fabric.attachment("micro");
  fabric.loop([&](Fabric& f) {
    f.plugs("micro")->make_tap(nic);
    EXPECT_TRUE(f.in_kernel(1));
  });
  Monitor monitor(nic.interface);
  std::vector<std::string> seen;
  fabric.loop([&](Fabric& f) {
    f.watch(1, [&](const Seen& one) { seen.emplace_back(one.frame); });
    EXPECT_FALSE(f.in_kernel(1));
  });
  monitor.send(large_frame(1, bytes), true);
  std::size_t at = 0;
  expect_pieces([&]() -> std::string {
    for (auto end = Deadline::after(std::chrono::seconds(20)); !end.passed();
         std::this_thread::yield()) {
      auto one = fabric.loop([&](Fabric&) { return at < seen.size() ? seen[at] : std::string(); });
      if (one.empty()) continue;
      ++at;
      return one;
    }
    return {};
  });
}

TEST_F(FabricTap, IsThereForAnyNumberOfMonitorsUntilItIsUnplugged) {
  for (auto realisation : {Realisation::kernel, Realisation::process}) {
    RunningFabric fabric({{"micro", {1}}}, {{"micro", Wiring::tap}}, setup(realisation));
    fabric.start();
    auto before = interfaces();
    auto nic = fabric.attachment("micro");
    for (int boot = 0; boot < 3; ++boot) {
      fabric.loop([&](Fabric& f) { f.plugs("micro")->make_tap(nic); });
      Monitor monitor(nic.interface);
      monitor.send(small_frame(1, "boot"), false);
      EXPECT_NE(::if_nametoindex(nic.interface.c_str()), 0u);
    }
    fabric.loop([&](Fabric& f) { f.plugs("micro")->unplug(nic); });
    EXPECT_EQ(interfaces(), before) << "nothing of it is left";
    fabric.loop([&](Fabric& f) { f.plugs("micro")->make_tap(nic); });
    fabric.stop();
    EXPECT_THAT(interfaces(), IsEmpty());
  }
}

TEST_F(FabricTap, FaultsAreForItAsForAnyOther) {
  RunningFabric fabric({{"micro", {1}}, {"vm", {1}}}, {{"micro", Wiring::tap}},
                       setup(Realisation::process));
  fabric.start();
  auto nic = fabric.attachment("micro");
  auto vm = fabric.join_stream("vm");
  fabric.loop([&](Fabric& f) { f.plugs("micro")->make_tap(nic); });
  Monitor monitor(nic.interface);
  auto number = fabric.loop([](Fabric& f) { return f.add_fault(isolate(f.plan(), "micro", {})); });
  monitor.send(small_frame(1, "lost"), false);
  auto faulted = [&] { return fabric.loop([](Fabric& f) { return f.stats("micro", 1).faulted; }); };
  for (auto end = Deadline::after(std::chrono::seconds(20)); faulted() == 0;
       std::this_thread::yield())
    ASSERT_FALSE(end.passed()) << "no fault took the frame";
  fabric.loop([&](Fabric& f) { f.remove_fault(number); });
  monitor.send(small_frame(1, "healed"), false);
  for (std::string one; one.find("healed") == one.npos; one = next(vm))
    ASSERT_EQ(one.find("lost"), one.npos);
}

}  // namespace
}  // namespace attest::net
