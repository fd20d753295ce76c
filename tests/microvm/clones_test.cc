// Many machines from one snapshot.
#include "monitors.h"

#include <cstdlib>
#include <fstream>
#include <set>

namespace attest {
namespace {

namespace fs = std::filesystem;

// 24 of them with ATTEST_CAMPAIGN=full: two cores without KVM cannot keep more guests awake.
int how_many() {
  const char* campaign = std::getenv("ATTEST_CAMPAIGN");
  return campaign && std::string(campaign) == "full" ? 24 : 8;
}

class Clones : public Monitors {
 public:
  Config config() const override {
    Config config;
    // Small ones: eight of them run beside each other, and their template.
    config.machines["template"].memory_mb = 192;
    config.machines["template"].disks = {{.size_mb = 8}};
    return config;
  }

 protected:
  ScratchDir scratch;
};
INSTANTIATE_TEST_SUITE_P(, Clones, ATTEST_MONITORS);

TEST_P(Clones, ManyAtOnceAnswerAndAreThemselves) {
  auto& original = machine("template");
  original.succeed(
      "echo of-the-template >/run/mark; echo shared | dd of=/dev/vdb 2>/dev/null; sync");
  original.snapshot_create(scratch / "template");
  auto before = [&] {
    std::set<std::string> names;
    for (auto& entry : fs::directory_iterator(scratch / "template"))
      names.insert(entry.path().filename().string() + " " +
                   std::to_string(fs::file_size(entry.path())) + " " +
                   std::to_string(fs::last_write_time(entry.path()).time_since_epoch().count()));
    return names;
  };
  auto files = before();

  std::vector<Machine*> all;
  auto config = driver().config().machines.at("template");
  auto& path =
      on_firecracker() ? config.firecracker.snapshot_path : config.cloud_hypervisor.snapshot_path;
  path = (scratch / "template").string();
  for (int i = 1, count = how_many(); i <= count; ++i)
    all.push_back(&create_machine("clone-" + std::to_string(i), config));
  start_all();

  std::set<std::string> draws;
  for (auto* clone : all) {
    auto name = clone->name();
    EXPECT_EQ(clone->succeed("hostname; cat /run/mark"), name + "\nof-the-template\n");
    clone->succeed("echo " + name + " | dd of=/dev/vdb conv=notrunc 2>/dev/null; sync");
    draws.insert(clone->succeed("head -c 16 /dev/urandom | od -An -tx1"));
  }
  EXPECT_EQ(draws.size(), all.size()) << "random numbers are each one's own";
  for (auto* clone : all)
    EXPECT_EQ(clone->succeed("head -c 7 /dev/vdb"), clone->name().substr(0, 7)) << "so are disks";
  subtest("each has an address of its own", [&] {
    all[0]->succeed("ping -c 1 -W 20 clone-8");
    all[7]->succeed("ping -c 1 -W 20 template");
    original.succeed("ping -c 1 -W 20 $(echo " + all[3]->succeed("hostname -I | cut -d' ' -f1") +
                     ")");
    EXPECT_NE(all[0]->succeed("cat /sys/class/net/eth0/address"),
              all[1]->succeed("cat /sys/class/net/eth0/address"));
  });
  EXPECT_EQ(before(), files) << "the snapshot is as it was";
}

}  // namespace
}  // namespace attest
