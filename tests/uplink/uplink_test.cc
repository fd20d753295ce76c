// A machine with `internet` and one without, beside a page on the host's loopback, which
// with_page.py serves outside the sandbox.
#include <attest/gtest.h>

#include <cstdlib>
#include <string>

namespace attest {
namespace {
using testing::HasSubstr;
using testing::Not;

class Uplink : public Test {
 public:
  Config config() const override {
    Config config;
    config.machines["inside"];
    config.machines["outgoing"].internet = true;
    return config;
  }

 protected:
  void SetUp() override {
    ASSERT_NE(std::getenv("ATTEST_PAGE_PORT"), nullptr) << "run it by with_page.py";
    Test::SetUp();
  }
  // Of the host's 127.0.0.1, as passt shows it.
  static std::string fetch(const std::string& seconds = "60") {
    return "curl -sS --fail --max-time " + seconds +
           " http://10.0.2.2:" + std::string(std::getenv("ATTEST_PAGE_PORT")) + "/it";
  }
};

TEST_F(Uplink, LeadsToTheHost) {
  start_all();
  EXPECT_EQ(machine("outgoing").succeed(fetch()), "a page of the host, for /it\n");
}

TEST_F(Uplink, IsNotThereForOthers) {
  auto& inside = machine("inside");
  EXPECT_THAT(inside.fail(fetch() + " 2>&1"), HasSubstr("onnect"));
  // Neither through the machine that has one.
  inside.succeed("ip route add 10.0.2.0/24 via 192.168.1.2");
  EXPECT_NE(inside.execute(fetch("2")).exit_code, 0);
}

TEST_F(Uplink, LeavesTheVlansAsTheyAre) {
  auto& outgoing = machine("outgoing");
  outgoing.wait_until_succeeds("ping -c 1 -W 5 inside");
  EXPECT_THAT(outgoing.succeed("ip -o -4 addr"), HasSubstr("192.168.1.2/24"));
  EXPECT_THAT(outgoing.succeed("ip -o -4 addr show dev eth1"), HasSubstr("10.0.2.15/24"));
  EXPECT_THAT(machine("inside").succeed("ip -o link"), Not(HasSubstr("eth1")));
}

TEST_F(Uplink, BringsANameServer) {
  EXPECT_EQ(machine("outgoing").succeed("cat /etc/resolv.conf"), "nameserver 10.0.2.3\n");
  EXPECT_THAT(machine("inside").succeed("cat /etc/resolv.conf"), Not(HasSubstr("nameserver")));
}

TEST_F(Uplink, IsThereAfterTheNextBootToo) {
  machine("outgoing").crash();
  EXPECT_EQ(machine("outgoing").succeed(fetch()), "a page of the host, for /it\n");
}

}  // namespace
}  // namespace attest
