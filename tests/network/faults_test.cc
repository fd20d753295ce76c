// Each fault, measured from inside the machines. Containers by default: they boot in half a second;
// --attest_set=network.realisation=kernel|process says what their VLANs are made of.
#include "lib/net/kernel/shaping.h"

#include <attest/gtest.h>

#include <net/if.h>
#include <re2/re2.h>

#include <chrono>
#include <string>

namespace {

using namespace std::chrono_literals;
using attest::Direction;
using attest::Machine;

// What ping says at its end.
struct Ping {
  int sent = 0, received = 0, duplicates = 0;
  double loss = 0;                       // per cent
  double min = 0, average = 0, max = 0;  // ms
};

Ping ping(Machine& from, const std::string& to, const std::string& options) {
  auto text = from.execute("ping -q " + options + " " + to).output;
  Ping result;
  EXPECT_TRUE(RE2::PartialMatch(text, R"((\d+) packets transmitted, (\d+) received)", &result.sent,
                                &result.received))
      << text;
  RE2::PartialMatch(text, R"(\+(\d+) duplicates)", &result.duplicates);
  RE2::PartialMatch(text, R"(([\d.]+)% packet loss)", &result.loss);
  RE2::PartialMatch(text, R"(= ([\d.]+)/([\d.]+)/([\d.]+)/)", &result.min, &result.average,
                    &result.max);
  return result;
}

bool reaches(Machine& from, const std::string& to) {
  return from.execute("ping -q -c2 -i0.2 -W1 " + to).exit_code == 0;
}

// With time for a machine that has asked in vain for its neighbour's MAC, which asks again only
// after a second or three.
bool comes_to_reach(Machine& from, const std::string& to) {
  from.wait_until_succeeds("ping -c1 -W1 " + to, {.timeout = 60s, .interval = 100ms});
  return true;
}

// ping does not wait long for its last answer: on a busy host that one may seem lost.
constexpr double last_one = 0.4;  // of 300, in per cent

class Networks : public attest::Test {
 public:
  attest::Config config() const override {
    attest::Config made;
    for (const char* name : {"a", "b", "c", "d", "e"}) made.machines[name].backend = "nspawn";
    made.machines["a"].vlans = {1, 2};
    made.machines["b"].vlans = {1, 2};
    made.network.seed = 7;
    return made;
  }

 protected:
  void SetUp() override {
    attest::Test::SetUp();
    if (IsSkipped()) return;
    // Elsewhere such a VLAN moves into the process, and that is what the other run looks at.
    if (driver().config().network.realisation == attest::Realisation::kernel && !lacking().empty())
      GTEST_SKIP() << lacking();
    start_all();
  }
  // VLANs must have stayed where the run wants them, or these were the other run's faults.
  void TearDown() override {
    if (!IsSkipped() && !HasFatalFailure()) {
      auto wanted = driver().config().network.realisation;
      if (wanted != attest::Realisation::automatic) {
        EXPECT_EQ(in_process().empty(), wanted == attest::Realisation::kernel) << in_process();
      }
    }
    attest::Test::TearDown();
  }
  // The test process's way to a VLAN whose switch is in it, if there is one: at<driver>v<vlan>u.
  static std::string in_process() {
    auto* all = ::if_nameindex();
    std::string found;
    for (auto* one = all; one && one->if_index; ++one)
      if (RE2::FullMatch(one->if_name, R"(at\d+v\d+u)")) found = one->if_name;
    ::if_freenameindex(all);
    return found;
  }
  // What the kernel cannot do of what these tests ask for.
  virtual const std::string& lacking() const = 0;

  // Sends `bytes` from one machine to another over TCP and returns how long it took; they must be
  // what arrives.
  std::chrono::milliseconds transfer(Machine& from, Machine& to, int bytes) {
    from.succeed("head -c " + std::to_string(bytes) + " /dev/urandom >/tmp/sent");
    auto sink = to.spawn(
        {.shell = "rm -f /tmp/got; exec socat -u TCP-LISTEN:7000,reuseaddr CREATE:/tmp/got"});
    // A look at the port would be the one connection that socat takes.
    to.wait_until_succeeds("ss -Htln 'sport = :7000' | grep -q .", {.interval = 20ms});
    auto started = std::chrono::steady_clock::now();
    from.succeed("socat -u OPEN:/tmp/sent TCP:" + to.name() + ":7000");
    sink.wait({.timeout = 120s});
    auto took = std::chrono::steady_clock::now() - started;
    EXPECT_EQ(from.succeed("sha256sum </tmp/sent"), to.succeed("sha256sum </tmp/got"));
    return std::chrono::duration_cast<std::chrono::milliseconds>(took);
  }
};

class Faults : public Networks {
  const std::string& lacking() const override {
    return attest::net::shaping_support().no_impairments;
  }
};

TEST_F(Faults, LossIsWhatPingLoses) {
  auto& a = machine("a");
  ASSERT_TRUE(comes_to_reach(a, "b") && comes_to_reach(a, "c"));
  ASSERT_LE(ping(a, "b", "-f -c 300").loss, last_one);
  {
    auto fault = network().link("b").impair({.loss = 0.1}, Direction::to_machine);
    auto seen = ping(a, "b", "-f -c 2000");
    EXPECT_GT(seen.loss, 6);
    EXPECT_LT(seen.loss, 14);
    EXPECT_LE(ping(a, "c", "-f -c 300").loss, last_one) << "other links do not notice";
  }
  EXPECT_LE(ping(a, "b", "-f -c 300").loss, last_one) << "healed at the end of the scope";
}

TEST_F(Faults, ADelayIsOneWay) {
  auto& a = machine("a");
  comes_to_reach(a, "b");  // the neighbours know each other
  auto fault = network().link("b").impair({.delay = 50ms}, Direction::from_machine);
  EXPECT_GE(ping(a, "b", "-c 5 -i 0.1").min, 49.9);
  fault.heal();
  EXPECT_LT(ping(a, "b", "-c 5 -i 0.1").min, 40);
  fault.apply();
  EXPECT_GE(ping(a, "b", "-c 5 -i 0.1").min, 49.9);
  auto both = network().link("b").impair({.delay = 30ms});
  EXPECT_GE(ping(a, "b", "-c 5 -i 0.1").min, 109.9) << "faults add up, and this one is two ways";
}

TEST_F(Faults, JitterSpreadsTheDelay) {
  auto fault = network().link("b").impair({.delay = 40ms, .jitter = 30ms}, Direction::to_machine);
  auto seen = ping(machine("a"), "b", "-c 40 -i 0.1");
  EXPECT_GE(seen.min, 9.9);
  EXPECT_GT(seen.max - seen.min, 15);
  EXPECT_GE(seen.received, 39);
}

TEST_F(Faults, DuplicatesArriveTwice) {
  auto fault = network().link("b").impair({.duplicate = 0.5}, Direction::to_machine);
  auto seen = ping(machine("a"), "b", "-c 60 -i 0.02");
  EXPECT_GE(seen.received, 59);
  EXPECT_GT(seen.duplicates, 10);
  EXPECT_LT(seen.duplicates, 50);
}

TEST_F(Faults, TcpSurvivesReordering) {
  auto &a = machine("a"), &b = machine("b");
  b.succeed("nstat -n");
  auto fault = network().link("b").impair({.reorder = 0.2}, Direction::to_machine);
  transfer(a, b, 2'000'000);
  EXPECT_NE(b.succeed("nstat TcpExtTCPOFOQueue | awk 'END {print $2 + 0}'"), "0\n");
}

TEST_F(Faults, TcpSurvivesCorruption) {
  auto &a = machine("a"), &b = machine("b");
  b.succeed("nstat -n");
  auto fault = network().link("b").impair({.corrupt = 0.05}, Direction::to_machine);
  transfer(a, b, 2'000'000);
  EXPECT_NE(b.succeed("nstat TcpInCsumErrors IpInHdrErrors | awk '{n += $2} END {print n + 0}'"),
            "0\n");
}

TEST_F(Faults, ARateHoldsATransferBack) {
  auto fault = network().link("b").impair({.rate = 8'000'000}, Direction::to_machine);
  // 16 Mbit
  EXPECT_GT(transfer(machine("a"), machine("b"), 2'000'000), 1800ms);
}

TEST_F(Faults, AnMtuLetsNothingLongerPass) {
  auto& a = machine("a");
  auto fault = network().link("b").impair({.mtu = 500}, Direction::to_machine);
  EXPECT_EQ(ping(a, "b", "-c 2 -i 0.2 -W 1 -s 1000").received, 0);
  comes_to_reach(a, "b -s 400");
}

// On VLANs of their own: a kernel may know how to cut and not how to impair.
class Partitions : public Networks {
  const std::string& lacking() const override {
    return attest::net::shaping_support().no_partitions;
  }
};

TEST_F(Partitions, APartitionIsBetweenItsGroupsOnly) {
  auto &a = machine("a"), &c = machine("c");
  auto split = network().partition({"a", "b"}, {"c", "d"});
  EXPECT_TRUE(comes_to_reach(a, "b"));
  EXPECT_FALSE(reaches(a, "c"));
  EXPECT_FALSE(reaches(c, "b"));
  EXPECT_TRUE(comes_to_reach(c, "d"));
  EXPECT_TRUE(comes_to_reach(c, "e"));
  split.heal();
  comes_to_reach(a, "c");
}

TEST_F(Partitions, APartitionMayBeOneWay) {
  auto &a = machine("a"), &c = machine("c");
  ASSERT_TRUE(comes_to_reach(a, c.address()));  // each has the other's MAC
  auto listen = [](Machine& m) {
    auto sink = m.spawn({.shell = "exec socat -u UDP4-RECV:7001 STDOUT"});
    m.wait_for_open_port(7001, {.udp = true});
    return sink;
  };
  auto at_a = listen(a), at_c = listen(c);
  auto fault = network().partition({"a"}, {"c"}, {.one_way = true});
  a.succeed("echo lost | socat -u STDIN UDP4:c:7001");
  c.succeed("echo 'the other way' | socat -u STDIN UDP4:a:7001");
  EXPECT_EQ(at_a.read_line({.timeout = 10s}), "the other way");
  fault.heal();
  a.succeed("echo healed | socat -u STDIN UDP4:c:7001");
  EXPECT_EQ(at_c.read_line({.timeout = 10s}), "healed");
}

TEST_F(Partitions, OneIsIsolatedFromAll) {
  auto& a = machine("a");
  auto fault = network().isolate("c");
  EXPECT_FALSE(reaches(a, "c"));
  EXPECT_FALSE(reaches(machine("c"), "192.168.1.254"));
  EXPECT_TRUE(comes_to_reach(a, "b"));
  fault.heal();
  EXPECT_TRUE(comes_to_reach(machine("c"), "192.168.1.254"));
}

TEST_F(Partitions, EachOfARingSeesAMajority) {
  auto ring = network().majority_ring({"a", "b", "c", "d", "e"});
  auto& a = machine("a");
  EXPECT_TRUE(comes_to_reach(a, "b"));
  EXPECT_TRUE(comes_to_reach(a, "e"));
  EXPECT_FALSE(reaches(a, "c"));
  EXPECT_FALSE(reaches(a, "d"));
}

TEST_F(Partitions, OneIsTheBridgeBetweenTwoHalves) {
  auto fault = network().bridge({"a", "b"}, "c", {"d", "e"});
  EXPECT_FALSE(reaches(machine("a"), "d"));
  EXPECT_TRUE(comes_to_reach(machine("a"), "c"));
  EXPECT_TRUE(comes_to_reach(machine("c"), "d"));
}

TEST_F(Partitions, AFaultMayBeOnOneVlanOnly) {
  auto& a = machine("a");
  auto fault = network().partition({"a"}, {"b"}, {.vlan = 2});
  EXPECT_TRUE(comes_to_reach(a, machine("b").address(1)));
  EXPECT_FALSE(reaches(a, machine("b").address(2)));
}

TEST_F(Partitions, ABlockedMachineHasNoCarrierAndKeepsItsCommands) {
  auto &a = machine("a"), &b = machine("b");
  b.block();
  EXPECT_FALSE(reaches(a, "b"));
  EXPECT_EQ(b.succeed("cat /sys/class/net/eth0/carrier"), "0\n");
  b.unblock(2);
  comes_to_reach(a, b.address(2));
  EXPECT_FALSE(reaches(a, b.address(1)));
  b.unblock();
  comes_to_reach(a, "b");
  EXPECT_EQ(b.succeed("cat /sys/class/net/eth0/carrier"), "1\n");
}

TEST_F(Partitions, ABlockOutlastsAReboot) {
  auto& b = machine("b");
  b.block(1);
  b.reboot();
  EXPECT_FALSE(reaches(machine("a"), b.address(1)));
  EXPECT_TRUE(comes_to_reach(machine("a"), b.address(2)));
  b.unblock(1);
  comes_to_reach(machine("a"), b.address(1));
}

}  // namespace
