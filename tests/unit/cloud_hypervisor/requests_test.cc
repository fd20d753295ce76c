// Golden files in tests/golden/cloud_hypervisor: the arguments, one a line, then the requests.
// ATTEST_UPDATE_GOLDEN=1 writes them anew and reports the tests as skipped, so that a rewrite never
// looks like a pass.
#include "backends/cloud_hypervisor/requests.h"

#include "backends/microvm/boot_files.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace attest::cloud_hypervisor {
namespace {

struct Machine {
  MachineConfig config;
  Launch launch;
  std::vector<NetworkAttachment> network;
};

NetworkAttachment nic(int vlan, const std::string& mac) {
  return {.vlan = vlan, .mac = mac, .interface = "at0v" + std::to_string(vlan) + "n2"};
}

// The default machine: the Debian image on VLAN 1.
Machine standard(int version) {
  Machine machine;
  machine.launch.program = "/usr/bin/cloud-hypervisor";
  machine.launch.version = {version, 0, 0};
  machine.launch.work_dir = "/run/attest/web";
  machine.launch.kernel = "/images/debian/vmlinux";
  machine.launch.initrd = "/run/attest/web/initrd";
  machine.launch.cmdline =
      microvm::kernel_arguments(machine.config, "root=/dev/vda quiet", {"panic=0"});
  machine.launch.drives = {
      {.id = "root", .file = "/images/debian/root.erofs", .read_only = true, .root = true}};
  machine.network = {nic(1, "52:54:00:12:01:02")};
  return machine;
}

// All that every version has.
Machine rich(int version) {
  Machine machine = standard(version);
  auto& config = machine.config;
  config.vcpus = 2;
  config.memory_mb = 1024;
  config.extra_args = {"-v"};
  config.credentials = {{"token", "s3cret"}, {"bytes", std::string("\0\xff", 2)}};
  auto& own = config.cloud_hypervisor;
  own.serial = "file";
  own.tap = "name";
  own.huge_pages = true;
  own.huge_page_size_kb = 2048;
  own.thp = false;
  own.landlock = true;
  own.max_vcpus = 4;
  own.max_memory_mb = 4096;
  own.drive_rate = {.bandwidth_kb_s = 4'000'000, .ops_s = 500};
  own.network_rate = {.bandwidth_kb_s = 1000};
  own.balloon = {.amount_mb = 64, .deflate_on_oom = true};
  own.pmem_devices = {{.path = "/data/shared"}, {.path = "/data/own", .read_only = false}};
  machine.launch.drives.push_back(
      {.id = "store", .file = "/images/debian/store.erofs", .read_only = true});
  machine.launch.drives.push_back({.id = "disk2", .file = "/run/attest/web/disk2.raw"});
  machine.network.push_back(nic(7, "52:54:00:12:07:02"));
  return machine;
}

Machine mapped(int version) {
  Machine machine = standard(version);
  machine.config.cloud_hypervisor.restore = "map";
  return machine;
}

Machine bare(int version) {
  Machine machine = standard(version);
  machine.network.clear();
  machine.launch.drives.clear();
  machine.launch.initrd.clear();
  return machine;
}

void compare(const std::string& name, const std::string& text) {
  std::filesystem::path file = std::string(ATTEST_GOLDEN_DIR) + "/cloud_hypervisor/" + name;
  const char* update = std::getenv("ATTEST_UPDATE_GOLDEN");
  if (update && *update) {
    base::write_file(file, text);
    GTEST_SKIP() << "wrote " << file;
  }
  EXPECT_EQ(text, base::read_file(file)) << "ATTEST_UPDATE_GOLDEN=1 rewrites " << file;
}

std::string text_of(const Call& call, const Machine& machine) {
  std::string text = call.request.method + " " + call.request.path;
  for (auto index : call.nics) text += ", with the TAP " + machine.network[index].interface;
  return text + "\n" + (call.request.body.empty() ? "" : call.request.body + "\n");
}

struct GoldenCase {
  const char* name;
  Machine (*make)(int version);
};

class CloudHypervisorRequests : public testing::TestWithParam<std::tuple<GoldenCase, int>> {
 protected:
  GoldenCase row() const { return std::get<0>(GetParam()); }
  int version() const { return std::get<1>(GetParam()); }
  std::string file() const { return std::string(row().name) + "_" + std::to_string(version()); }
};

TEST_P(CloudHypervisorRequests, OfABootAreAsInTheirGoldenFile) {
  Machine machine = row().make(version());
  check_version("web", machine.config, machine.launch.version);
  auto text = base::join(command_line(machine.config, machine.launch), "\n") + "\n\n";
  text += text_of({create_request(machine.config, machine.launch)}, machine);
  for (auto& call : nic_calls(machine.config, machine.network)) text += text_of(call, machine);
  compare(file() + ".boot", text);
}

TEST_P(CloudHypervisorRequests, OfARestoreAreAsInTheirGoldenFile) {
  Machine machine = row().make(version());
  std::string text;
  auto modes = std::string(row().name) == "mapped"
                   ? std::vector{MemoryMode::map}
                   : std::vector{MemoryMode::copy, MemoryMode::on_demand};
  for (auto mode : modes) {
    if (mode == MemoryMode::on_demand && machine.launch.version < with_on_demand) continue;
    text += words(mode) + ":\n" +
            text_of(restore_call(machine.config, machine.launch, "/run/attest/web/restored", mode,
                                 machine.network),
                    machine);
  }
  compare(file() + ".restore", text);
}

INSTANTIATE_TEST_SUITE_P(
    , CloudHypervisorRequests,
    testing::Combine(testing::Values(GoldenCase{"standard", standard}, GoldenCase{"rich", rich},
                                     GoldenCase{"mapped", mapped}, GoldenCase{"bare", bare}),
                     testing::Values(46, 52, 53)),
    [](const auto& row) {
      return std::string(std::get<0>(row.param).name) + "_" +
             std::to_string(std::get<1>(row.param));
    });

TEST(CloudHypervisorRequestsTest, OfTheRestOfALife) {
  std::string text;
  for (auto& request : {ping_request(), simple_request("vm.boot"), simple_request("vm.pause"),
                        save_request("/snapshots/web"), simple_request("vm.resume"),
                        resize_request(4, {}), resize_request({}, 1024),
                        simple_request("vm.power-button"), simple_request("vmm.shutdown")})
    text += text_of({request}, {});
  compare("life", text);
}

}  // namespace
}  // namespace attest::cloud_hypervisor
