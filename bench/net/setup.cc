// Four VLANs of sixteen machines in the kernel: bridges with addresses, and a TAP for each machine
// that is plugged in and up. Against the `ip` commands that a person would type for the same.
#include "lib/net/kernel/netlink.h"
#include "lib/net/kernel/netns.h"
#include "lib/net/kernel/tap.h"
#include "lib/net/plan.h"
#include "net.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <sstream>
#include <stdexcept>
#include <string>

namespace {
using namespace attest::net;

constexpr int vlans = 4, machines = 16;
constexpr std::uint32_t group = 7;

struct Taken {
  std::vector<double> setup_ms, teardown_ms;
};

void ours(Taken& taken) {
  Netlink netlink;
  std::vector<attest::base::Fd> taps;
  taken.setup_ms.push_back(bench::time_ms([&] {
    Links links;
    for (int v = 1; v <= vlans; ++v) {
      auto self = make_nic(v, test_process_node);
      links.bridges.push_back({.name = bridge_name(0, v),
                               .mac = self.mac,
                               .group = group,
                               .addresses = {self.ipv4 + "/24", self.ipv6 + "/64"}});
      for (int m = 1; m <= machines; ++m) {
        auto name = interface_name(0, v, m);
        taps.push_back(open_tap(name));
        links.ends.push_back({.name = name, .bridge = bridge_name(0, v)});
      }
    }
    netlink.make(links);
  }));
  taken.teardown_ms.push_back(bench::time_ms([&] {
    netlink.remove_group(group);
    taps.clear();
  }));
  if (netlink.names("at").empty()) return;
  throw std::runtime_error("interfaces are left after the teardown");
}

// From this thread, whose namespace the program then is in.
void ip(const std::string& line) {
  std::vector<std::string> words{"ip"};
  std::istringstream text(line);
  for (std::string word; text >> word;) words.push_back(word);
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  if (::posix_spawnp(&child, "ip", nullptr, nullptr, argv.data(), environ) != 0)
    throw std::runtime_error("'ip' cannot be started");
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status != 0) throw std::runtime_error("'ip " + line + "' failed");
}

void by_ip(Taken& taken) {
  taken.setup_ms.push_back(bench::time_ms([] {
    for (int v = 1; v <= vlans; ++v) {
      auto self = make_nic(v, test_process_node);
      auto bridge = bridge_name(0, v);
      ip("link add " + bridge + " group 7 address " + self.mac +
         " type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
      ip("address add " + self.ipv4 + "/24 dev " + bridge);
      ip("address add " + self.ipv6 + "/64 dev " + bridge + " nodad");
      ip("link set " + bridge + " up");
      for (int m = 1; m <= machines; ++m) {
        auto name = interface_name(0, v, m);
        ip("tuntap add " + name + " mode tap");
        ip("link set " + name + " group 7 master " + bridge + " up");
      }
    }
  }));
  taken.teardown_ms.push_back(bench::time_ms([] { Netlink().remove_group(group); }));
}

bool have_ip() {
  for (auto* path : {"/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"})
    if (::access(path, X_OK) == 0) return true;
  return false;
}

double best(const std::vector<double>& values) {
  return *std::min_element(values.begin(), values.end());
}

}  // namespace

std::vector<bench::Metric> net_setup(int count) {
  if (!why_no_tap().empty()) {
    std::fprintf(stderr, "bench/net: no rows about links: %s\n", why_no_tap().c_str());
    return {};
  }
  bool compare = have_ip();
  if (!compare) std::fprintf(stderr, "bench/net: no net.setup_vs_ip: iproute2 is not installed\n");
  Taken us, them;
  auto elsewhere = make_netns();
  in_netns(elsewhere, [&] {
    // In turn; each teardown has ended, in the kernel too, before the next begins.
    for (int i = 0; i < count; ++i) {
      ours(us);
      if (compare) by_ip(them);
    }
  });
  std::vector<bench::Metric> rows{
      {"net.setup_ms_4x16", bench::median(us.setup_ms), "ms", count, "goal < 60"},
      {"net.teardown_ms_4x16", bench::median(us.teardown_ms), "ms", count, "goal < 200"}};
  if (!compare) return rows;
  rows.push_back({"net.setup_by_ip_ms_4x16", bench::median(them.setup_ms), "ms", count, ""});
  rows.push_back({"net.setup_vs_ip", best(them.setup_ms) / best(us.setup_ms), "ratio", count,
                  "best against best; goal >= 8"});
  return rows;
}
