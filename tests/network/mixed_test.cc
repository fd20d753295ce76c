// A container, a virtual machine, a microVM and the test process on one VLAN; what it is made of is
// given by --attest_set=network.realisation=process|kernel, and which monitor runs the microVM by
// --attest_set=machines.wee.backend=firecracker|cloud_hypervisor.
#include "host_page.h"

#include <attest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class Mixed : public attest::Test {
 public:
  attest::Config config() const override {
    attest::Config made;
    made.machines["box"].backend = "nspawn";
    made.machines["vm"].backend = "qemu";
    made.machines["wee"].backend = "firecracker";
    made.machines["wee"].memory_mb = 256;
    return made;
  }
};

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = ::popen(command.c_str(), "r");
  char buffer[4096];
  for (std::size_t count; pipe && (count = ::fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    text.append(buffer, count);
  if (pipe) ::pclose(pipe);
  return text;
}

TEST_F(Mixed, AContainerAndAVirtualMachineShareAVlan) {
  auto &box = machine("box"), &vm = machine("vm");
  start_all();
  EXPECT_EQ(vm.address(), "192.168.1.2");
  EXPECT_EQ(vm.address6(), "2001:db8:1::2");
  vm.wait_for_unit("nginx.service");
  vm.wait_for_open_port(80);
  EXPECT_THAT(box.succeed("curl -sf http://vm"), HasSubstr("Welcome to nginx"));
  box.wait_until_succeeds("ping -c1 -W5 2001:db8:1::2");
  vm.wait_until_succeeds("ping -c1 -W5 box");

  attest::subtest("a microVM, whose guest leaves segments and checksums to others", [&] {
    auto& wee = machine("wee");
    wee.wait_for_open_port(80);
    auto sum =
        wee.succeed("cd /var/www/html; head -c 20000000 /dev/urandom >large; sha256sum large");
    for (auto* other : {&box, &vm})
      EXPECT_EQ(other->succeed("cd /tmp; curl -sf http://wee/large >large; sha256sum large"), sum);
    vm.succeed("mv /tmp/large /var/www/html");
    EXPECT_EQ(wee.succeed("cd /tmp; curl -sf http://vm/large >large; sha256sum large"), sum);
    EXPECT_THAT(attest::fakes::host_page(wee.forward_port(0, 80)), HasSubstr("Welcome to nginx"));
    auto cut = network().isolate("wee");
    box.fail("curl -s --connect-timeout 2 http://wee");
    cut.heal();
    box.wait_until_succeeds("curl -sf --connect-timeout 2 http://wee", {.timeout = 60s});
  });

  attest::subtest("a partition cuts them off from each other", [&] {
    auto split = network().partition({"box"}, {"vm"});
    box.fail("curl -s --connect-timeout 2 http://vm");
    split.heal();
    box.wait_until_succeeds("curl -sf --connect-timeout 2 http://vm", {.timeout = 60s});
  });

  attest::subtest("a pulled cable is seen in the virtual machine", [&] {
    vm.block();
    vm.wait_until_succeeds("grep -q 0 /sys/class/net/e*/carrier", {.timeout = 60s});
    box.fail("curl -s --connect-timeout 2 http://vm");
    vm.unblock();
    vm.wait_until_succeeds("grep -q 1 /sys/class/net/e*/carrier", {.timeout = 60s});
    box.wait_until_succeeds("curl -sf --connect-timeout 2 http://vm", {.timeout = 60s});
  });

  attest::subtest("a capture knows the machines' names", [&] {
    // The runs of this test share the directory, and may do so at the same time.
    bool kernel = driver().config().network.realisation == attest::Realisation::kernel;
    auto packets = network().vlan(1).capture(kernel ? "kernel.pcapng" : "process.pcapng");
    box.succeed("ping -4 -c 3 -i 0.2 vm");
    packets.stop();
    EXPECT_GE(packets.frames(), 6u);
    ASSERT_EQ(std::system("command -v tshark >/dev/null"), 0)
        << "install tshark (tools/packages.sh tests)";
    auto command = "tshark -r '" + packets.path().string() +
                   "' -Y icmp -T fields -e frame.interface_name -e frame.comment 2>&1";
    auto text = output_of(command);
    EXPECT_THAT(text, HasSubstr("box\tbox -> vm"));
    EXPECT_THAT(text, HasSubstr("vm\tvm -> box"));
  });

  attest::subtest("ports are forwarded to the host, on every backend", [&] {
    EXPECT_THAT(attest::fakes::host_page(vm.forward_port(0, 80)), HasSubstr("Welcome to nginx"));
    box.wait_for_open_port(80);
    EXPECT_THAT(attest::fakes::host_page(box.forward_port(0, 80)), HasSubstr("Welcome to nginx"));
  });
}

}  // namespace
