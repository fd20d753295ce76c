// Frames of 1500 bytes from one peer to another through our switch, and through a vde_switch as the
// nixpkgs driver runs it, in turn: each peer sends and receives as QEMU does on that kind of
// socket, one system call a frame on the way out. In our switch fault rules are in place, for
// others; then for these two.
#include "lib/net/switching/switch.h"

#include "net.h"
#include "vde_switch.h"

#include "lib/async/loop.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/base/sys_error.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <atomic>
#include <cstring>
#include <thread>

namespace {

using namespace std::chrono_literals;
using attest::base::Fd;
using Clock = std::chrono::steady_clock;

constexpr std::size_t frame_size = 1500;
constexpr std::size_t qemu_reads = 4096 + 65536;  // NET_BUFSIZE

std::string frame(char to, char from) {
  std::string mac("\x52\x54\0\0\0", 5);
  auto made = mac + to + mac + from + std::string("\x08\0", 2);
  return made + std::string(frame_size - made.size(), 'x');
}

// A socket to a switch: a stream with lengths in front of frames, or datagrams.
struct Peer {
  Fd socket;
  bool stream = true;
  Fd control = {};  // a VDE switch serves us for as long as this is open

  void send(const std::string& frame) const {
    auto length = htonl(static_cast<std::uint32_t>(frame.size()));
    iovec parts[] = {{&length, sizeof length}, {const_cast<char*>(frame.data()), frame.size()}};
    msghdr message{};
    message.msg_iov = stream ? parts : parts + 1;
    message.msg_iovlen = stream ? 2 : 1;
    attest::base::check(static_cast<int>(::sendmsg(socket.get(), &message, MSG_NOSIGNAL)),
                        "sending to a switch");
  }
  // What came, valid until the next call; empty if nothing does.
  std::string_view receive(std::chrono::milliseconds patience) const {
    static char buffer[qemu_reads];
    auto take = [&](int flags) { return ::recv(socket.get(), buffer, sizeof buffer, flags); };
    auto count = take(MSG_DONTWAIT);
    if (count < 0) {
      pollfd ready{.fd = socket.get(), .events = POLLIN, .revents = 0};
      if (::poll(&ready, 1, static_cast<int>(patience.count())) == 0) return {};
      count = take(0);
    }
    if (count <= 0) throw attest::base::sys_error("receiving from a switch");
    return {buffer, static_cast<std::size_t>(count)};
  }
  void discard() const {
    while (!receive(50ms).empty()) continue;
  }
};

// Two peers that know each other, whatever is between them.
struct Pair {
  Peer one, other;

  void meet() const {
    one.send(frame('\xff', '\1'));
    other.send(frame('\1', '\2'));
    one.discard();
    other.discard();
  }
  double gbit_per_s() const {
    std::atomic<bool> stop = false;
    std::jthread sender([&] {
      auto sent = frame('\2', '\1');
      while (!stop) one.send(sent);
    });
    std::size_t bytes = 0;
    auto began = Clock::now(), end = began + 300ms, now = began;
    for (; now < end; now = Clock::now()) bytes += other.receive(100ms).size();
    stop = true;
    // Until it has ended somebody must read: a sender of datagrams would wait for ever.
    other.discard();
    sender.join();
    other.discard();
    return static_cast<double>(bytes) * 8 /
           std::chrono::duration<double, std::nano>(now - began).count();
  }
  // From send() to the frame of that `number`, so that none of before is taken for it.
  double latency_us(int number) const {
    auto sent = frame('\2', '\1'), mark = "#" + std::to_string(number);
    sent.replace(sent.size() - mark.size(), mark.size(), mark);
    return 1000 * bench::time_ms([&] {
             one.send(sent);
             while (!other.receive(1000ms).ends_with(mark)) continue;
           });
  }
};

template <class Function>
auto on_loop(attest::async::Loop& loop, Function function) {
  auto task = [](Function f) -> attest::Task<decltype(f())> { co_return f(); };
  return loop.run(task(std::move(function)));
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

// As libvdeplug does: a request (facts: vde_switch's datasock.c), the address to send to in answer.
Peer join_vde(const std::string& switch_dir, const std::string& own) {
  using attest::base::check;
  struct [[gnu::packed]] {
    std::uint32_t magic = 0xfeedface, version = 3, type = 0;
    sockaddr_un own;
    char description[8] = "bench";
  } request;
  request.own = address_of(own);
  Peer peer{.socket = Fd(check(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "a socket")),
            .stream = false,
            .control = attest::base::connect_unix(switch_dir + "/ctl")};
  auto address = address_of(own);
  check(::bind(peer.socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
        "binding");
  check(static_cast<int>(::send(peer.control.get(), &request, sizeof request, 0)), "asking vde");
  check(static_cast<int>(::recv(peer.control.get(), &address, sizeof address, 0)), "vde's answer");
  check(::connect(peer.socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
        "joining vde_switch");
  return peer;
}

// Rules as a test has them: a partition and a slow link, of others than members 1 and 2.
attest::net::Rules rules_of_others() {
  attest::net::Rules rules;
  for (int one : {3, 4, 5})
    for (int other : {1, 2}) rules.block(one, other);
  rules.shape_from(6, {.delay = 50ms, .loss = 0.1});
  return rules;
}

// Those of a link that is bad, but loses nothing.
attest::net::Rules rules_of_both() {
  auto rules = rules_of_others();
  rules.shape_from(1, {.delay = 1ms, .jitter = 500us, .mtu = 1500});
  rules.shape_to(2, {.mtu = 1500});
  return rules;
}

}  // namespace

std::vector<bench::Metric> net_switch(int count) {
  attest::base::TempDir dir;
  attest::async::Loop loop;
  auto vde = loop.run(bench::VdeSwitch::start(dir.path() / "vde",
                                              attest::Deadline::after(std::chrono::seconds(10))));
  std::unique_ptr<attest::net::Switch> made;
  auto join = [&](int member) {
    auto [ours, theirs] = attest::base::stream_pair();
    Fd* end = &theirs;
    on_loop(loop, [&, end] { return made->join(std::move(*end), member); });
    return Peer{.socket = std::move(ours)};
  };
  auto use = [&](attest::net::Rules rules) {
    on_loop(loop, [&] {
      made->set_rules(std::move(rules));
      return 0;
    });
  };
  on_loop(loop, [&] {
    made = std::make_unique<attest::net::Switch>(loop.executor());
    return 0;
  });
  const Pair ours{.one = join(1), .other = join(2)};
  const Pair theirs{.one = join_vde(vde->dir(), dir.path() / "1"),
                    .other = join_vde(vde->dir(), dir.path() / "2")};
  ours.meet();
  theirs.meet();

  std::vector<double> mine, shaped, hub, latency;
  use(rules_of_others());
  for (int i = 0; i < 20 * count; ++i) latency.push_back(ours.latency_us(i));
  for (int i = 0; i < std::max(3, count / 2); ++i) {
    use(rules_of_others());
    mine.push_back(ours.gbit_per_s());
    hub.push_back(theirs.gbit_per_s());
    use(rules_of_both());
    shaped.push_back(ours.gbit_per_s());
  }
  on_loop(loop, [&] {
    made.reset();
    vde.reset();
    return 0;
  });

  int rounds = static_cast<int>(mine.size());
  double fast = bench::median(mine), slow = bench::median(hub);
  return {{"net.switch_gbit", fast, "Gbit/s", rounds, "1500 bytes, rules for others"},
          {"net.vde_gbit", slow, "Gbit/s", rounds, "vde_switch --hub"},
          {"net.switch_vs_vde", fast / slow, "ratio", rounds, "goal >= 2"},
          {"net.switch_shaped_gbit", bench::median(shaped), "Gbit/s", rounds, "delay, jitter, MTU"},
          {"net.switch_latency_us", bench::median(latency), "us", 20 * count, "p50; goal < 60"}};
}
