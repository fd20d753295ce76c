#include "backends/cloud_hypervisor/requests.h"
#include "error_of.h"
#include "lib/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace attest::cloud_hypervisor {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Kind = Error::Kind;

template <class Call>
void expect_refusal(Call&& call, Kind kind, const char* key, const char* instead) {
  try {
    call();
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    EXPECT_THAT(error.what(), AllOf(HasSubstr(key), HasSubstr(instead), HasSubstr("hint:")));
  }
}

TEST(CloudHypervisorConfigTest, TheDefaultsAndAllThatGoesTogetherAreFine) {
  MachineConfig config;
  check_config("web", config);
  auto& own = config.cloud_hypervisor;
  own.max_vcpus = 4;
  own.max_memory_mb = config.memory_mb + 256;
  own.huge_pages = own.landlock = true;
  own.huge_page_size_kb = 2048;
  own.balloon.amount_mb = 64;
  config.extra_args = {"-vv", "--seccomp", "log"};
  base::TempDir dir;
  base::write_file(dir.path() / "data", std::string(2 << 20, 'x'));
  own.pmem_devices = {{.path = (dir.path() / "data").string()}};
  check_config("web", config);
}

struct RefusedCase {
  const char* name;
  void (*change)(MachineConfig&);
  Kind kind;
  const char* key;
  const char* instead;
};
class CloudHypervisorConfigCheck : public testing::TestWithParam<RefusedCase> {};
TEST_P(CloudHypervisorConfigCheck, NamesTheKeyAndWhatToUseInstead) {
  MachineConfig config;
  GetParam().change(config);
  expect_refusal([&] { check_config("web", config); }, GetParam().kind, GetParam().key,
                 GetParam().instead);
}
INSTANTIATE_TEST_SUITE_P(
    , CloudHypervisorConfigCheck,
    testing::Values(
        RefusedCase{"firmware", [](MachineConfig& c) { c.firmware = "/x"; }, Kind::unsupported,
                    "(cloud_hypervisor): 'firmware'", "'kernel'"},
        RefusedCase{"graphics", [](MachineConfig& c) { c.graphics = true; }, Kind::unsupported,
                    "'graphics'", "qemu"},
        RefusedCase{"many_vcpus", [](MachineConfig& c) { c.vcpus = 255; }, Kind::unsupported, "254",
                    "'vcpus'"},
        RefusedCase{"max_vcpus_below_vcpus",
                    [](MachineConfig& c) {
                      c.vcpus = 4;
                      c.cloud_hypervisor.max_vcpus = 2;
                    },
                    Kind::usage, "'max_vcpus' (2)", "raise it"},
        RefusedCase{"max_memory_below_memory",
                    [](MachineConfig& c) { c.cloud_hypervisor.max_memory_mb = 128; }, Kind::usage,
                    "'max_memory_mb' (128)", "raise it"},
        RefusedCase{"odd_memory_step",
                    [](MachineConfig& c) { c.cloud_hypervisor.max_memory_mb = 600; }, Kind::usage,
                    "by 128 MiB", "change"},
        RefusedCase{"balloon_of_everything",
                    [](MachineConfig& c) { c.cloud_hypervisor.balloon.amount_mb = 512; },
                    Kind::usage, "'amount_mb' (512)", "less"},
        RefusedCase{"page_size_alone",
                    [](MachineConfig& c) { c.cloud_hypervisor.huge_page_size_kb = 2048; },
                    Kind::usage, "'huge_page_size_kb'", "set huge_pages"},
        RefusedCase{"odd_page_size",
                    [](MachineConfig& c) {
                      c.cloud_hypervisor.huge_pages = true;
                      c.cloud_hypervisor.huge_page_size_kb = 3000;
                    },
                    Kind::usage, "3000", "2048"},
        RefusedCase{"memory_of_half_a_page",
                    [](MachineConfig& c) {
                      c.memory_mb = 511;
                      c.cloud_hypervisor.huge_pages = true;
                    },
                    Kind::usage, "'memory_mb' (511)", "change"},
        RefusedCase{"map_with_hotplug",
                    [](MachineConfig& c) {
                      c.cloud_hypervisor.restore = "map";
                      c.cloud_hypervisor.max_memory_mb = 1024;
                    },
                    Kind::unsupported, "'max_memory_mb'", "leave one"},
        RefusedCase{"map_with_huge_pages",
                    [](MachineConfig& c) {
                      c.cloud_hypervisor.restore = "map";
                      c.cloud_hypervisor.huge_pages = true;
                    },
                    Kind::unsupported, "'huge_pages'", "leave one"},
        RefusedCase{
            "pmem_that_is_not_there",
            [](MachineConfig& c) { c.cloud_hypervisor.pmem_devices = {{.path = "/nowhere/x"}}; },
            Kind::usage, "'/nowhere/x'", "correct its path"},
        RefusedCase{
            "odd_pmem",
            [](MachineConfig& c) { c.cloud_hypervisor.pmem_devices = {{.path = "/etc/passwd"}}; },
            Kind::usage, "no multiple of 2 MiB", "truncate"},
        RefusedCase{"our_argument", [](MachineConfig& c) { c.extra_args = {"--api-socket=/x"}; },
                    Kind::usage, "'--api-socket=/x'", "leave it out"},
        RefusedCase{"a_machines_argument",
                    [](MachineConfig& c) { c.extra_args = {"--disk", "path=/x"}; },
                    Kind::unsupported, "'--disk'", "keys of the config"}),
    [](const auto& row) { return row.param.name; });

TEST(CloudHypervisorVersionTest, WhatAVersionLacksIsRefusedWithBoth) {
  MachineConfig config;
  expect_refusal([&] { check_version("web", config, {45, 1, 0}); }, Kind::unsupported, "45.1.0",
                 "46.0 or later");
  check_version("web", config, {46, 0, 0});
  config.cloud_hypervisor.restore = "on_demand";
  expect_refusal([&] { check_version("web", config, {51, 0, 0}); }, Kind::unsupported,
                 "'restore' \"on_demand\" needs Cloud Hypervisor 52.0", "51.0.0");
  check_version("web", config, {52, 0, 0});
}

struct ResizeCase {
  const char* name;
  std::optional<int> vcpus, memory_mb;
  const char* says;  ///< "": it is fine
};
class Resize : public testing::TestWithParam<ResizeCase> {};
TEST_P(Resize, StaysWithinTheConfig) {
  MachineConfig config;
  config.vcpus = 2;
  config.cloud_hypervisor.max_vcpus = 4;
  config.cloud_hypervisor.max_memory_mb = 1024;
  auto& row = GetParam();
  auto check = [&] { check_resize(config, 640, row.vcpus, row.memory_mb); };
  if (!*row.says) return check();
  expect_refusal(check, Kind::usage, row.says, "hint");
}
INSTANTIATE_TEST_SUITE_P(, Resize,
                         testing::Values(ResizeCase{"more", 4, 768, ""},
                                         ResizeCase{"fewer_vcpus", 1, {}, ""},
                                         ResizeCase{"the_same", {}, 640, ""},
                                         ResizeCase{"too_many", 5, {}, "1 to 4"},
                                         ResizeCase{"none", 0, {}, "1 to 4"},
                                         ResizeCase{"too_much", {}, 1152, "at most 1024"},
                                         ResizeCase{"less", {}, 512, "nothing back"},
                                         ResizeCase{"half_a_step", {}, 800, "ask for 768 MiB"}),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace attest::cloud_hypervisor
