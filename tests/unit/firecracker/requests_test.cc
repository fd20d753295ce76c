// Golden files in tests/golden/firecracker: the arguments, one a line, then the requests.
// ATTEST_UPDATE_GOLDEN=1 writes them anew and reports the tests as skipped, so that a rewrite never
// looks like a pass.
#include "backends/firecracker/requests.h"

#include "backends/microvm/boot_files.h"
#include "error_of.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace attest::firecracker {
namespace {

using testing::HasSubstr;

struct Machine {
  MachineConfig config;
  Launch launch;
  std::vector<NetworkAttachment> network;
};

NetworkAttachment nic(int vlan, const std::string& mac) {
  return {.vlan = vlan, .mac = mac, .interface = "at0v" + std::to_string(vlan) + "n2"};
}

// The default machine: the Debian image on VLAN 1.
Machine standard(const Version& version) {
  Machine machine;
  machine.launch.program = "/usr/bin/firecracker";
  machine.launch.machine = "web";
  machine.launch.version = version;
  machine.launch.kernel = "/images/debian/vmlinux";
  machine.launch.initrd = "/run/attest/web/initrd";
  machine.launch.cmdline =
      microvm::kernel_arguments(machine.config, "root=/dev/vda quiet", {"reboot=k"});
  machine.launch.drives = {
      {.id = "root", .file = "/images/debian/root.erofs", .read_only = true, .root = true}};
  machine.network = {nic(1, "52:54:00:12:01:02")};
  return machine;
}

// All that every version has.
Machine rich(const Version& version) {
  Machine machine = standard(version);
  auto& config = machine.config;
  config.vcpus = 4;
  config.memory_mb = 1024;
  config.extra_args = {"--no-seccomp"};
  auto& own = config.firecracker;
  own.io_engine = "Async";
  own.cache_type = "Writeback";
  own.huge_pages = "2M";
  own.smt = own.track_dirty_pages = true;
  own.cpu_template = "T2";
  own.log_level = "Debug";
  own.drive_rate = {.bandwidth_kb_s = 4'000'000, .ops_s = 500};
  own.network_rate = {.bandwidth_kb_s = 1000};
  own.balloon = {.amount_mb = 64, .deflate_on_oom = false};
  machine.launch.drives.push_back(
      {.id = "store", .file = "/images/debian/store.erofs", .read_only = true});
  machine.launch.drives.push_back({.id = "disk2", .file = "disk2.raw"});
  machine.network.push_back(nic(7, "52:54:00:12:07:02"));
  return machine;
}

std::string text_of(const std::vector<Request>& requests) {
  std::string text;
  for (auto& request : requests)
    text += request.method + " " + request.path + "\n" + request.body + "\n";
  return text;
}

void compare(const std::string& name, const std::string& text) {
  std::filesystem::path file = std::string(ATTEST_GOLDEN_DIR) + "/firecracker/" + name;
  const char* update = std::getenv("ATTEST_UPDATE_GOLDEN");
  if (update && *update) {
    base::write_file(file, text);
    GTEST_SKIP() << "wrote " << file;
  }
  EXPECT_EQ(text, base::read_file(file)) << "ATTEST_UPDATE_GOLDEN=1 rewrites " << file;
}

struct GoldenCase {
  const char* name;
  Machine (*make)(const Version&);
  Version version;
};

std::string name_of(const GoldenCase& row) {
  return std::string(row.name) + "_" + std::to_string(row.version.major) + "_" +
         std::to_string(row.version.minor);
}

class FirecrackerRequests : public testing::TestWithParam<GoldenCase> {};

TEST_P(FirecrackerRequests, AreAsInTheirGoldenFile) {
  Machine machine = GetParam().make(GetParam().version);
  check_config("web", machine.config);
  check_version("web", machine.config, machine.launch.version);
  compare(name_of(GetParam()) + ".boot",
          base::join(command_line(machine.config, machine.launch), "\n") + "\n\n" +
              text_of(boot_requests(machine.config, machine.launch, machine.network)));
}

TEST_P(FirecrackerRequests, LoadASnapshotAsInTheirGoldenFile) {
  Machine machine = GetParam().make(GetParam().version);
  auto requests = load_requests(machine.launch, "/snapshots/web", machine.network);
  requests.push_back(resume_request());
  compare(name_of(GetParam()) + ".restore", text_of(requests));
}

INSTANTIATE_TEST_SUITE_P(, FirecrackerRequests,
                         testing::Values(GoldenCase{"standard", standard, {1, 10, 1}},
                                         GoldenCase{"standard", standard, {1, 14, 0}},
                                         GoldenCase{"standard", standard, {1, 16, 1}},
                                         GoldenCase{"standard", standard, {1, 17, 0}},
                                         GoldenCase{"rich", rich, {1, 10, 1}},
                                         GoldenCase{"rich", rich, {1, 14, 0}},
                                         GoldenCase{"rich", rich, {1, 16, 1}},
                                         GoldenCase{"rich",
                                                    [](const Version& version) {
                                                      Machine machine = rich(version);
                                                      machine.config.firecracker.huge_pages =
                                                          "Transparent";
                                                      return machine;
                                                    },
                                                    {1, 17, 0}},
                                         GoldenCase{"pci_without_network",
                                                    [](const Version& version) {
                                                      Machine machine = standard(version);
                                                      machine.config.firecracker.enable_pci = true;
                                                      machine.config.firecracker.entropy = false;
                                                      machine.config.firecracker.balloon.enabled =
                                                          true;
                                                      machine.launch.initrd.clear();
                                                      machine.network.clear();
                                                      return machine;
                                                    },
                                                    {1, 16, 1}}),
                         [](const auto& row) { return name_of(row.param); });

TEST(FirecrackerRequestsTest, GivesEachPmemDeviceAnId) {
  base::TempDir dir;
  auto file = dir.path() / "data";
  base::write_file(file, std::string(2 << 20, 'x'));
  Machine machine = standard({1, 14, 0});
  machine.config.firecracker.pmem_devices = {{.path = file.string()},
                                             {.path = file.string(), .read_only = false}};
  check_config("web", machine.config);
  check_version("web", machine.config, machine.launch.version);
  auto text = text_of(boot_requests(machine.config, machine.launch, machine.network));
  EXPECT_THAT(text, HasSubstr("PUT /pmem/pmem0\n{\"id\":\"pmem0\",\"path_on_host\":\"" +
                              file.string() + "\",\"root_device\":false,\"read_only\":true}"));
  EXPECT_THAT(text, HasSubstr("PUT /pmem/pmem1\n"));
  machine.launch.version = {1, 13, 4};
  EXPECT_THAT(error_of(Error::Kind::unsupported,
                       [&] { check_version("web", machine.config, machine.launch.version); }),
              HasSubstr("'pmem_devices' needs Firecracker 1.14 or later, and this one is 1.13.4"));
}

TEST(FirecrackerRequestsTest, SavesAsAWhole) {
  auto request = save_request("/snapshots/web");
  EXPECT_EQ(request.path, "/snapshot/create");
  EXPECT_EQ(request.body, R"({"snapshot_type":"Full","snapshot_path":"/snapshots/web/state",)"
                          R"("mem_file_path":"/snapshots/web/memory"})");
  EXPECT_EQ(pause_request().body, R"({"state":"Paused"})");
  EXPECT_EQ(resume_request().body, R"({"state":"Resumed"})");
}

TEST(FirecrackerCommandLine, MakesAnIdOfTheMachinesName) {
  Machine machine = standard({1, 16, 1});
  machine.launch.machine = "db_1." + std::string(80, 'x');
  EXPECT_EQ(command_line(machine.config, machine.launch)[4], "db-1-" + std::string(59, 'x'));
}

TEST(FirecrackerExit, IsToldInWords) {
  EXPECT_THAT(exit_words(148), HasSubstr("seccomp"));
  EXPECT_THAT(exit_words(149), HasSubstr("huge page"));
  EXPECT_EQ(exit_words(1), "");
}

struct RefusedCase {
  const char* name;
  void (*change)(MachineConfig&);
  Error::Kind kind;
  const char* key;
  const char* instead;
};
class FirecrackerConfigCheck : public testing::TestWithParam<RefusedCase> {};

TEST_P(FirecrackerConfigCheck, NamesTheKeyAndWhatToUseInstead) {
  MachineConfig config;
  GetParam().change(config);
  auto words = error_of(GetParam().kind, [&] {
    check_config("web", config);
    check_version("web", config, {1, 12, 0});
  });
  EXPECT_THAT(words, HasSubstr("machine 'web' (firecracker)"));
  EXPECT_THAT(words, HasSubstr(GetParam().key));
  EXPECT_THAT(words, HasSubstr(GetParam().instead));
}

using Kind = Error::Kind;
INSTANTIATE_TEST_SUITE_P(
    , FirecrackerConfigCheck,
    testing::Values(
        RefusedCase{"start_script", [](MachineConfig& c) { c.start_script = "/run-web-vm"; },
                    Kind::unsupported, "'start_script'", "qemu backend"},
        RefusedCase{"firmware", [](MachineConfig& c) { c.firmware = "/ovmf"; }, Kind::unsupported,
                    "'firmware'", "'kernel'"},
        RefusedCase{"graphics", [](MachineConfig& c) { c.graphics = true; }, Kind::unsupported,
                    "'graphics'", "q35"},
        RefusedCase{"network", [](MachineConfig& c) { c.network = "veth"; }, Kind::unsupported,
                    "'network' (here 'veth')", "'vlans'"},
        RefusedCase{"emulation", [](MachineConfig& c) { c.accel = Accel::tcg; }, Kind::unsupported,
                    "'accel'", "qemu backend"},
        RefusedCase{"file_in_run",
                    [](MachineConfig& c) { c.files = {{.from = "/a", .to = "/run/b"}}; },
                    Kind::unsupported, "'/run/b'", "a command after the boot"},
        RefusedCase{"credential_with_a_slash",
                    [](MachineConfig& c) { c.credentials["../x"] = "y"; }, Kind::usage, "'../x'",
                    "letters"},
        RefusedCase{"many_vcpus", [](MachineConfig& c) { c.vcpus = 33; }, Kind::unsupported,
                    "'vcpus' is 33", "cloud_hypervisor"},
        RefusedCase{"odd_smt",
                    [](MachineConfig& c) {
                      c.vcpus = 3;
                      c.firecracker.smt = true;
                    },
                    Kind::usage, "'smt'", "3"},
        RefusedCase{"odd_memory_for_huge_pages",
                    [](MachineConfig& c) {
                      c.memory_mb = 513;
                      c.firecracker.huge_pages = "2M";
                    },
                    Kind::usage, "'huge_pages'", "513"},
        RefusedCase{"all_in_the_balloon",
                    [](MachineConfig& c) { c.firecracker.balloon.amount_mb = 512; }, Kind::usage,
                    "'amount_mb' (512)", "less"},
        RefusedCase{
            "no_pmem_file",
            [](MachineConfig& c) { c.firecracker.pmem_devices = {{.path = "/nonexistent"}}; },
            Kind::usage, "'/nonexistent'", "path"},
        RefusedCase{
            "odd_pmem_file",
            [](MachineConfig& c) { c.firecracker.pmem_devices = {{.path = "/etc/passwd"}}; },
            Kind::usage, "'pmem_devices'", "truncate"},
        RefusedCase{"own_argument", [](MachineConfig& c) { c.extra_args = {"--api-sock=/tmp/x"}; },
                    Kind::usage, "'--api-sock=/tmp/x'", "leave it out"},
        RefusedCase{"pci_before_1_13", [](MachineConfig& c) { c.firecracker.enable_pci = true; },
                    Kind::unsupported, "'enable_pci' needs Firecracker 1.13", "1.12.0"},
        RefusedCase{"transparent_before_1_17",
                    [](MachineConfig& c) { c.firecracker.huge_pages = "Transparent"; },
                    Kind::unsupported, "\"Transparent\" needs Firecracker 1.17", "1.12.0"}),
    [](const auto& row) { return row.param.name; });

TEST(FirecrackerConfigCheckTest, RefusesVersionsThatItDoesNotSpeakTo) {
  EXPECT_THAT(error_of(Kind::unsupported, [] { check_version("web", {}, {1, 7, 0}); }),
              HasSubstr("needs Firecracker 1.10 or later, and this one is 1.7.0"));
}

}  // namespace
}  // namespace attest::firecracker
