// What the config's options of the monitors do to a real guest.
#include "monitors.h"

#include <fstream>

namespace attest {
namespace {

std::string pmem_file(const ScratchDir& dir) {
  auto path = (dir / "pmem").string();
  std::ofstream(path) << "persistent words\n";
  // What is plugged in behind it must begin at a block of memory, 128 MiB.
  std::filesystem::resize_file(path, 128 << 20);
  return path;
}

class Options : public Monitors {
 public:
  Config config() const override {
    Config config;
    auto& alpha = config.machines["alpha"];
    alpha.memory_mb = 256;
    alpha.vcpus = 2;
    alpha.disks = {{.size_mb = 64}, {.size_mb = 16}};
    alpha.credentials = {{"attest.secret", "open\nsesame"}};
    alpha.cmdline = "attest.word=said";
    static ScratchDir dir;
    static std::string pmem = pmem_file(dir);
    alpha.firecracker.balloon = {.enabled = true, .amount_mb = 16};
    alpha.firecracker.pmem_devices = {{.path = pmem}};
    alpha.firecracker.drive_rate = {.bandwidth_kb_s = 32 << 10};
    alpha.cloud_hypervisor.balloon = {.enabled = true, .amount_mb = 16};
    alpha.cloud_hypervisor.pmem_devices = {{.path = pmem}};
    alpha.cloud_hypervisor.drive_rate = {.bandwidth_kb_s = 32 << 10};
    alpha.cloud_hypervisor.max_vcpus = 4;
    alpha.cloud_hypervisor.max_memory_mb = 512;
    return config;
  }
};
INSTANTIATE_TEST_SUITE_P(, Options, ATTEST_MONITORS);

TEST_P(Options, ShapeTheMachine) {
  auto& machine = alpha();
  EXPECT_EQ(machine.succeed("nproc"), "2\n");
  EXPECT_EQ(machine.succeed("cat /sys/block/vdb/size /sys/block/vdc/size"), "131072\n32768\n");
  machine.wait_for_file("/dev/pmem0");
  EXPECT_EQ(machine.succeed("head -n 1 /dev/pmem0"), "persistent words\n");
  machine.succeed("grep -q attest.word=said /proc/cmdline");
  EXPECT_EQ(machine.succeed("cat /run/credentials/@system/attest.secret"), "open\nsesame");
}

TEST_P(Options, LimitWhatADiskCarries) {
  auto took = [&](const std::string& device) {
    auto result = alpha().execute("dd if=/dev/zero of=" + device +
                                  " bs=1M count=64 oflag=direct conv=notrunc 2>/dev/null");
    EXPECT_EQ(result.exit_code, 0);
    return result.duration;
  };
  // 64 MiB at 32 MiB/s, less the second's worth that the bucket may have to begin with.
  EXPECT_GE(took("/dev/vdb"), 800ms);
}

TEST_P(Options, ResizeWhereTheMonitorCan) {
  if (on_firecracker()) {
    EXPECT_THAT(error_of(Error::Kind::unsupported, [&] { alpha().resize({.vcpus = 2}); }),
                HasSubstr("machine 'alpha' (firecracker) has no way to change its size"));
    return;
  }
  alpha().resize({.vcpus = 4, .memory_mb = 512});
  EXPECT_EQ(alpha().succeed("nproc"), "4\n");
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { alpha().resize({.vcpus = 5}); }),
              HasSubstr("max_vcpus"));
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { alpha().resize({.memory_mb = 4096}); }),
              HasSubstr("max_memory_mb"));
}

}  // namespace
}  // namespace attest
