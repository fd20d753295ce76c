// A bridge with machines, as network namespaces, and what arrives where when datagrams are sent.
#pragma once
#include "lib/net/kernel/bridge.h"
#include "lib/net/kernel/shaping.h"
#include "tests/unit/net/own_network.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <memory>
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

/// Machines 1 to 3 and the test process on a VLAN; all know each other's MAC from the start, so
/// that what is lost is always a datagram.
class ShapingBed : public OwnNetwork {
 protected:
  static constexpr Member us = test_process_node;
  static constexpr int machines = 3;
  using Members = std::map<Member, std::string>;

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

  /// Sends datagrams 0 to count - 1, in handfuls that no queue is too short for.
  std::vector<Arrival> sent(Member from, Member to, int count, std::size_t size = 100,
                            std::chrono::milliseconds quiet = 300ms) {
    stations_.at(to).receive(0ms);
    std::vector<Arrival> arrivals;
    auto take = [&](std::chrono::milliseconds patience) {
      auto more = stations_.at(to).receive(patience);
      arrivals.insert(arrivals.end(), more.begin(), more.end());
    };
    for (int number = 0; number < count; ++number) {
      stations_.at(from).send(stations_.at(to), number, size);
      if (number % 50 == 49) take(0ms);
    }
    take(quiet);
    return arrivals;
  }

  /// Whether one of a few datagrams arrives.
  bool reaches(Member from, Member to) {
    stations_.at(to).receive(0ms);
    for (int number = 0; number < 3; ++number) stations_.at(from).send(stations_.at(to), number);
    return stations_.at(to).hears_within(200ms);
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
  static double median_way(std::vector<Arrival> arrivals) {
    if (arrivals.empty()) return -1;
    auto middle = arrivals.begin() + static_cast<std::ptrdiff_t>(arrivals.size() / 2);
    std::nth_element(arrivals.begin(), middle, arrivals.end(),
                     [](auto& one, auto& other) { return one.way < other.way; });
    return milliseconds_of(middle->way);
  }

  std::unique_ptr<Netlink> netlink_;
  std::unique_ptr<Bridge> bridge_;
  std::map<Member, base::Fd> netns_;
  std::map<Member, Station> stations_;
  Members ports_;
};

}  // namespace attest::net
