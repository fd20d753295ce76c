// A bridge with machines, as network namespaces, and what arrives where when datagrams are sent.
#pragma once
#include "lib/net/kernel/bridge.h"
#include "lib/net/kernel/shaping.h"
#include "tests/unit/net/own_network.h"

#include <gmock/gmock.h>

#include <net/if_arp.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace attest::net {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// What arrived of one send().
struct Arrival {
  int number = 0;       ///< from 0, as sent
  bool intact = true;   ///< but for number and time
  Clock::duration way;  ///< from the call that sent it to the call that received it
  Clock::time_point at;
};

/// A UDP socket of one member. Without checksums, so that damaged frames arrive; in the namespace
/// that the thread is in when this is made.
class Station {
 public:
  explicit Station(const std::string& ip) : ip_(ip) {
    socket_.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    int on = 1, room = 64 << 20;
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_NO_CHECK, &on, sizeof on);
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    auto address = address_of(ip);
    base::check(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
                "binding to " + ip);
  }

  struct Content {
    int number;
    Clock::time_point sent;
  };

  void send(const Station& to, int number, std::size_t size = 100) const {
    std::string bytes(size, 'x');
    Content content{number, Clock::now()};
    std::memcpy(bytes.data(), &content, sizeof content);
    auto address = address_of(to.ip_);
    ::sendto(socket_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&address),
             sizeof address);
  }

  bool hears_within(std::chrono::milliseconds limit) const {
    pollfd ready{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&ready, 1, static_cast<int>(limit.count())) > 0;
  }
  /// What is here, and comes until nothing has come for `quiet`.
  std::vector<Arrival> receive(std::chrono::milliseconds quiet) const {
    std::vector<Arrival> arrivals;
    pollfd ready{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    while (::poll(&ready, 1, static_cast<int>(quiet.count())) > 0) {
      char bytes[2000];
      auto count = ::recv(socket_.get(), bytes, sizeof bytes, MSG_DONTWAIT);
      if (count < static_cast<ssize_t>(sizeof(Content))) continue;
      auto now = Clock::now();
      Content content{};
      std::memcpy(&content, bytes, sizeof content);
      bool intact =
          std::all_of(bytes + sizeof content, bytes + count, [](char one) { return one == 'x'; });
      arrivals.push_back({content.number, intact, now - content.sent, now});
    }
    return arrivals;
  }

 private:
  static sockaddr_in address_of(const std::string& ip) {
    sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(7)};
    ::inet_pton(AF_INET, ip.c_str(), &address.sin_addr);
    return address;
  }

  std::string ip_;
  base::Fd socket_;
};

/// Machines 1 to 3 and the test process on a VLAN; all know each other's MAC from the start and for
/// ever, so that what is lost is always a datagram. A busy host may stop us for seconds: what must
/// arrive gets patience, and what must not is followed by something that does arrive.
class ShapingBed : public OwnNetwork {
 protected:
  static constexpr Member us = test_process_node;
  static constexpr int machines = 3;
  static constexpr auto patience = 10s;
  using Members = std::map<Member, std::string>;
  using Way = std::pair<Member, Member>;
  using Ways = std::set<Way>;

  void SetUp() override {
    OwnNetwork::SetUp();
    if (IsSkipped()) return;
    netlink_ = std::make_unique<Netlink>();  // of the namespace that the thread is in now
    auto own = make_nic(1, us);
    bridge_ = std::make_unique<Bridge>("br", own.mac, own, 7);
    for (int number = 1; number <= machines; ++number) add_machine(number);
    stations_.emplace(us, Station(make_nic(1, us).ipv4));
    for (auto& [from, one] : stations_)
      for (auto& [to, other] : stations_)
        if (from != to && !warmed_up(one, other)) FAIL() << from << " to " << to;
    remember_neighbours("br");
    for (auto& [number, netns] : netns_) in_netns(netns, [] { remember_neighbours("eth0"); });
  }
  void TearDown() override {
    stations_.clear();
    bridge_.reset();
    netlink_.reset();
    OwnNetwork::TearDown();
  }

  void add_machine(int number) {
    auto nic = make_nic(1, number);
    auto& netns = netns_[number] = make_netns();
    ports_[number] = "port" + std::to_string(number);
    netlink_->make_veth({.host_name = ports_[number],
                         .bridge = "br",
                         .guest_mac = nic.mac,
                         .guest_netns = netns.get()});
    in_netns(netns, [&] {
      Netlink inside;
      inside.set_up("eth0");
      inside.add_address("eth0", nic.ipv4, 24);
      stations_.erase(number);
      stations_.emplace(number, Station(nic.ipv4));
    });
  }

  static bool warmed_up(const Station& one, const Station& other) {
    for (int attempt = 0; attempt < 100; ++attempt) {
      one.send(other, 0);
      if (!other.hears_within(100ms)) continue;
      other.receive(0ms);
      return true;
    }
    return false;
  }

  /// Of everybody, on the card of the namespace that the thread is in.
  static void remember_neighbours(const char* card) {
    base::Fd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    for (Member member : {1, 2, 3, us}) {
      auto nic = make_nic(1, member);
      arpreq entry{};
      auto* ip = reinterpret_cast<sockaddr_in*>(&entry.arp_pa);
      ip->sin_family = AF_INET;
      ::inet_pton(AF_INET, nic.ipv4.c_str(), &ip->sin_addr);
      auto* mac = reinterpret_cast<unsigned char*>(entry.arp_ha.sa_data);
      entry.arp_ha.sa_family = ARPHRD_ETHER;
      // NOLINTNEXTLINE(cert-err34-c): six bytes of our own making
      std::sscanf(nic.mac.c_str(), "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3,
                  mac + 4, mac + 5);
      entry.arp_flags = ATF_PERM | ATF_COM;
      std::strncpy(entry.arp_dev, card, sizeof entry.arp_dev - 1);
      base::check(::ioctl(any.get(), SIOCSARP, &entry), "telling a neighbour's MAC");
    }
  }

  /// Sends datagrams 0 to count - 1, in handfuls that no queue is too short for, and returns what
  /// arrived of them. Links keep the order: what has not come before a datagram that is sent behind
  /// them never does.
  std::vector<Arrival> sent(Member from, Member to, int count, std::size_t size = 100) {
    const int last = --last_;
    stations_.at(to).receive(0ms);
    std::vector<Arrival> arrivals;
    bool over = false;
    auto take = [&](std::chrono::milliseconds quiet) {
      for (auto& one : stations_.at(to).receive(quiet)) {
        if (one.number == last) over = true;
        if (one.number >= 0) arrivals.push_back(one);
      }
    };
    for (int number = 0; number < count; ++number) {
      stations_.at(from).send(stations_.at(to), number, size);
      if (number % 50 == 49) take(0ms);
    }
    for (auto begin = Clock::now(); !over && Clock::now() - begin < patience;) {
      stations_.at(from).send(stations_.at(to), last);
      take(20ms);
    }
    EXPECT_TRUE(over) << "nothing arrives from " << from << " to " << to;
    return arrivals;
  }

  /// Whether one of a few datagrams arrives. Where it must not, see blocked().
  bool reaches(Member from, Member to) {
    stations_.at(to).receive(0ms);
    for (int number = 0; number < 3; ++number) stations_.at(from).send(stations_.at(to), number);
    return stations_.at(to).hears_within(patience);
  }

  /// All ways on which nothing arrives, if `closed` are the only ones: what is sent on the others
  /// after them must have come.
  Ways blocked(const Ways& closed) {
    Ways silent, open;
    for (auto& [member, station] : stations_) station.receive(0ms);
    for (auto& [from, one] : stations_)
      for (auto& [to, other] : stations_)
        if (from != to) silent.emplace(from, to);
    auto send = [&](const Way& way) {
      for (int copy = 0; copy < 3; ++copy)
        stations_.at(way.first).send(stations_.at(way.second), way.first);
    };
    for (auto& way : closed) send(way);
    for (auto& way : silent)
      if (!closed.contains(way)) open.insert(way);
    for (auto& way : open) send(way);
    auto listen = [&](Member at, std::chrono::milliseconds quiet) {
      for (auto& one : stations_.at(at).receive(quiet)) silent.erase({one.number, at});
    };
    for (auto& way : open)
      while (silent.contains(way) && stations_.at(way.second).hears_within(patience))
        listen(way.second, 0ms);
    for (auto& [at, station] : stations_) listen(at, 50ms);
    return silent;
  }
  /// Whether nothing arrives on this way, and then on `open` something.
  bool blocked(Way closed, Way open) {
    stations_.at(closed.second).receive(0ms);
    for (int copy = 0; copy < 3; ++copy)
      stations_.at(closed.first).send(stations_.at(closed.second), -1);
    sent(open.first, open.second, 3);
    auto late = stations_.at(closed.second).receive(50ms);
    return std::none_of(late.begin(), late.end(), [](auto& one) { return one.number == -1; });
  }

  /// How often each datagram of `count` arrived: [0] is how many did not.
  static std::array<int, 4> copies(const std::vector<Arrival>& arrivals, int count) {
    std::vector<int> times(static_cast<std::size_t>(count));
    for (auto& one : arrivals) ++times.at(static_cast<std::size_t>(one.number));
    std::array<int, 4> sums{};
    for (int one : times) ++sums[static_cast<std::size_t>(std::min(one, 3))];
    return sums;
  }

  static double milliseconds_of(Clock::duration span) {
    return std::chrono::duration<double, std::milli>(span).count();
  }
  /// The least time in milliseconds that datagrams take, over rounds enough that nobody is stopped
  /// in all of them.
  double least_way(Member from, Member to) {
    auto least = Clock::duration::max();
    for (int round = 0; round < 5; ++round)
      for (auto& one : sent(from, to, 20)) least = std::min(least, one.way);
    return milliseconds_of(least);
  }

  std::unique_ptr<Netlink> netlink_;
  std::unique_ptr<Bridge> bridge_;
  std::map<Member, base::Fd> netns_;
  std::map<Member, Station> stations_;
  Members ports_;
  int last_ = -1;  ///< the number of the datagram that is sent behind others
};

}  // namespace attest::net
