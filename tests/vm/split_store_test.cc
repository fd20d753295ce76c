// Images with a part of the root on a second read-only drive: machines share it, and what they
// write there stays with each of them. Needs `guest/debian/build.sh --variant split-store`.
#include "backends/image/image.h"
#include "lib/base/file.h"
#include "run_program.h"

#include <attest/backend.h>
#include <attest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace attest {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

// The image, or a skip of the test.
std::optional<image::Image> split_image() {
  try {
    return image::find_image("debian-split-store", "qemu");
  } catch (const Error&) {
    return std::nullopt;
  }
}

#define NEED_SPLIT_IMAGE(name)                                                 \
  auto name = split_image();                                                   \
  if (!name)                                                                   \
  GTEST_SKIP() << "there is no image 'debian-split-store': build it with 'sh " \
                  "guest/debian/build.sh --variant split-store'"

Config config_of(const std::string& image, std::initializer_list<const char*> names) {
  Config config;
  for (auto* name : names) {
    auto& machine = config.machines[name];
    machine.vlans.clear();
    machine.image = image;
  }
  return config;
}

std::unique_ptr<Driver> make(const Config& config) {
  auto driver = make_driver(config);
  auto missing = driver->missing();
  return missing.empty() ? std::move(driver) : nullptr;
}

struct Seen {
  std::string bytes;
  fs::file_time_type time;
  bool operator==(const Seen&) const = default;
};
Seen look_at(const fs::path& file) {
  return {.bytes = base::read_file(file), .time = fs::last_write_time(file)};
}

TEST(SplitStore, IsSharedByMachinesThatEachWriteToTheirOwn) {
  NEED_SPLIT_IMAGE(image);
  const auto before = look_at(image->store);
  auto driver = make(config_of("debian-split-store", {"one", "two"}));
  if (!driver) GTEST_SKIP() << "QEMU is not here";
  auto &one = driver->machine("one"), &two = driver->machine("two");
  driver->start_all();
  for (auto* machine : {&one, &two}) {
    EXPECT_EQ(machine->succeed("cat /sys/block/vda/ro /sys/block/vdb/ro"), "1\n1\n");
    EXPECT_EQ(machine->succeed("grep ' /usr ' /proc/mounts | cut -d ' ' -f 3"), "overlay\n");
    machine->wait_for_unit("nginx.service");
  }
  // The root's own file is without what is in the store.
  one.succeed(
      "mkdir /run/root && mount -t erofs /dev/vda /run/root && test -d /run/root/usr && "
      "! test -e /run/root/usr/bin");
  // New, changed and removed, in one of them.
  one.succeed("echo mine >/usr/share/mine; echo changed >/usr/lib/os-release; rm /usr/bin/socat");
  EXPECT_EQ(one.succeed("cat /usr/share/mine /etc/os-release"), "mine\nchanged\n");
  one.fail("test -e /usr/bin/socat");
  EXPECT_THAT(two.succeed("ls /usr/bin/socat; cat /etc/os-release"), HasSubstr("Debian"));
  two.fail("test -e /usr/share/mine");
  two.fail("echo x >/dev/vdb && sync /dev/vdb");
  // The overlay is memory of the machine: the next boot has the image's again.
  one.shutdown();
  EXPECT_THAT(one.succeed("ls /usr/bin/socat; cat /etc/os-release"), HasSubstr("Debian"));
  driver.reset();
  EXPECT_TRUE(look_at(image->store) == before) << "the store's file has changed";
}

TEST(SplitStore, LeavesTheDrivesBehindItToTheConfig) {
  NEED_SPLIT_IMAGE(image);
  auto config = config_of("debian-split-store", {"micro"});
  config.machines["micro"].qemu.machine = "microvm";
  config.machines["micro"].disks = {{.size_mb = 16}};
  auto driver = make(config);
  if (!driver) GTEST_SKIP() << "QEMU is not here";
  EXPECT_EQ(driver->machine("micro").succeed("blockdev --getsize64 /dev/vdc"), "16777216\n");
}

// Somebody's own: the default guest's root, and a directory that is no part of it.
TEST(SplitStore, MayBeANixStoreOfAHandMadeImage) {
  NEED_SPLIT_IMAGE(split);
  auto whole = image::find_image("debian", "qemu");
  base::TempDir dir("attest-nix-store-");
  fs::create_directories(dir.path() / "store" / "abc-hello" / "bin");
  base::write_file(dir.path() / "store/abc-hello/bin/hello",
                   "#!/bin/sh\necho hello from a store\n");
  fs::permissions(dir.path() / "store/abc-hello/bin/hello", fs::perms{0555});
  auto made = fakes::run_program({"mkfs.erofs", "--quiet", (dir.path() / "store.erofs").string(),
                                  (dir.path() / "store").string()});
  ASSERT_EQ(made.exit_code, 0) << made.output;
  fs::create_directories(dir.path() / "image");
  base::write_file(
      dir.path() / "image/image.json",
      R"({"format": 1, "name": "nix-like", "backends": ["qemu"], "root_format": "erofs", "kernel": ")" +
          split->kernel.string() + R"(", "initrd": ")" + split->initrd.string() +
          R"(", "root": ")" + whole.root.string() +
          R"(", "store": "../store.erofs", "store_mount": "/nix/store", "channel": "agent", "seed": "initrd", "cmdline": ")" +
          whole.cmdline + R"( attest.store=/dev/vdb attest.store_mount=/nix/store"})");
  auto driver = make(config_of((dir.path() / "image").string(), {"nix"}));
  if (!driver) GTEST_SKIP() << "QEMU is not here";
  auto& nix = driver->machine("nix");
  EXPECT_EQ(nix.succeed("/nix/store/abc-hello/bin/hello"), "hello from a store\n");
  nix.succeed("echo more >/nix/store/more && rm -r /nix/store/abc-hello");
  EXPECT_EQ(nix.succeed("ls /nix/store"), "more\n");
}

}  // namespace
}  // namespace attest

int main(int argc, char** argv) {
  attest::base::TempDir output("attest-split-output-");
  ::setenv("ATTEST_OUTPUT", output.path().c_str(), 1);
  return attest::main(argc, argv);
}
