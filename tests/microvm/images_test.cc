// Variants of the default image on the monitors: a store on a drive of its own, pictures of screens
// that only exist in the guest.
#include "monitors.h"

#include <fstream>

namespace attest {
namespace {

namespace fs = std::filesystem;

class SplitStores : public Monitors {
 public:
  Config config() const override {
    Config config;
    for (auto* name : {"one", "two"}) {
      config.machines[name].memory_mb = 256;
      config.machines[name].image = "debian-split-store";
    }
    config.machines["two"].disks = {{.size_mb = 16}};
    return config;
  }
};
INSTANTIATE_TEST_SUITE_P(, SplitStores, ATTEST_MONITORS);

TEST_P(SplitStores, AreSharedByMachinesThatEachWriteToTheirOwn) {
  auto &one = machine("one"), &two = machine("two");
  start_all();
  for (auto* each : {&one, &two})
    EXPECT_EQ(each->succeed("cat /sys/block/vda/ro /sys/block/vdb/ro; grep ' /usr ' /proc/mounts | "
                            "cut -d ' ' -f 3"),
              "1\n1\noverlay\n");
  EXPECT_EQ(two.succeed("cat /sys/block/vdc/size"), "32768\n")
      << "the config's disks are behind it";
  one.succeed("echo mine >/usr/share/mine; rm /usr/bin/socat");
  two.fail("test -e /usr/share/mine");
  two.succeed("test -x /usr/bin/socat");
  ScratchDir scratch;
  one.snapshot_create(scratch / "one");
  one.succeed("rm /usr/share/mine");
  one.snapshot_restore(scratch / "one");
  EXPECT_EQ(one.succeed("cat /usr/share/mine"), "mine\n");
}

class Pictures : public Monitors {
 public:
  Config config() const override {
    Config config;
    config.machines["desk"].memory_mb = 512;
    config.machines["desk"].image = "debian-x11";
    return config;
  }
};
INSTANTIATE_TEST_SUITE_P(, Pictures, ATTEST_MONITORS);

TEST_P(Pictures, AreTakenInTheGuestOfAnXServerWithoutACard) {
  auto& desk = machine("desk");
  auto server = desk.spawn({.argv = {"Xvfb", ":7", "-screen", "0", "320x240x24"}});
  desk.wait_for_open_unix_socket("/tmp/.X11-unix/X7");
  auto window =
      desk.spawn({.argv = {"xterm", "-geometry", "20x5+10+10"}, .env = {{"DISPLAY", ":7"}}});
  ScratchDir scratch;
  desk.guest_screenshot(scratch / "x.png", {.method = ScreenshotMethod::x11, .display = ":7"});
  std::ifstream in(scratch / "x.png", std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  ASSERT_GT(bytes.size(), 24u);
  EXPECT_EQ(bytes.substr(1, 3), "PNG");
  EXPECT_EQ(bytes.substr(16, 8), std::string("\0\0\1\x40\0\0\0\xf0", 8)) << "320 by 240";
}

}  // namespace
}  // namespace attest
