// Golden files in tests/golden/nspawn: the command line one argument a line, then the environment
// and the mount table. ATTEST_UPDATE_GOLDEN=1 writes them anew and reports the tests as skipped.
#include "backends/nspawn/command_line.h"

#include "attest/error.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

#include <gmock/gmock.h>

#include <cstdlib>

namespace attest::nspawn {
namespace {

using testing::HasSubstr;

struct Machine {
  MachineConfig config;
  Launch launch;
};

// The default machine: the Debian image, on its VLANs, with the image's agent.
Machine standard() {
  Machine machine;
  machine.launch.machine = "web";
  machine.launch.program = "/usr/bin/systemd-nspawn";
  machine.launch.work_dir = "/proc/driver/1/web";
  machine.launch.tree = "/images/debian/tree";
  machine.launch.cgroup = "/sys/fs/cgroup/unified/attest-12345678-web";
  machine.launch.binds = {
      {.host = "/proc/driver/1/shared-xchg", .guest = "/tmp/shared", .writable = true}};
  machine.launch.own_binds = {{"agent", "/run/attest"}};
  return machine;
}

std::string described(const Machine& machine) {
  std::string text =
      base::join(command_line(machine.config, machine.launch, "/proc/driver/1/web/mounts"), "\n") +
      "\n\nenvironment:\n";
  for (auto& [name, value] : environment(machine.config, machine.launch))
    text += name + "=" + value + "\n";
  return text + "\nmounts:\n" + mount_table(machine.launch);
}

struct GoldenCase {
  const char* name;
  void (*change)(Machine&);
};
class NspawnCommandLine : public testing::TestWithParam<GoldenCase> {};

TEST_P(NspawnCommandLine, IsAsInItsGoldenFile) {
  Machine machine = standard();
  GetParam().change(machine);
  check_config("web", machine.config);
  std::filesystem::path file =
      std::string(ATTEST_GOLDEN_DIR) + "/nspawn/" + GetParam().name + ".args";
  std::string text = described(machine);
  const char* update = std::getenv("ATTEST_UPDATE_GOLDEN");
  if (update && *update) {
    base::write_file(file, text);
    GTEST_SKIP() << "wrote " << file;
  }
  EXPECT_EQ(text, base::read_file(file)) << "ATTEST_UPDATE_GOLDEN=1 rewrites " << file;
}

INSTANTIATE_TEST_SUITE_P(
    , NspawnCommandLine,
    testing::Values(GoldenCase{"image", [](Machine&) {}},
                    GoldenCase{"host_network",
                               [](Machine& m) {
                                 m.config.network = "host";
                                 m.launch.own_network = false;
                               }},
                    GoldenCase{"user_namespace_without_run_systemd",
                               [](Machine& m) {
                                 m.launch.user_namespace = true;
                                 m.launch.run_dir = "/run";
                               }},
                    GoldenCase{"mounts_credentials_extra_args_debug",
                               [](Machine& m) {
                                 m.config.credentials = {{"token", "a:b c"}};
                                 m.config.extra_args = {"--tmpfs=/mnt"};
                                 m.config.debug_boot = true;
                                 m.launch.binds.push_back(
                                     {.host = "/home/a b/c#d\\e:f", .guest = "/srv/x:y"});
                               }},
                    GoldenCase{"toplevel",
                               [](Machine& m) {
                                 m.config.nspawn.toplevel = "/nix/store/abc-nixos-system-web";
                                 m.launch.tree = "/proc/driver/1/web/empty";
                                 m.launch.binds.push_back(
                                     {.host = "/nix/store", .guest = "/nix/store"});
                                 m.launch.own_binds.clear();
                               }}),
    [](const auto& row) { return std::string(row.param.name); });

struct Refusal {
  const char* name;
  void (*change)(MachineConfig&);
  const char* text;
};
class NspawnRefuses : public testing::TestWithParam<Refusal> {};

TEST_P(NspawnRefuses, WhatAContainerHasNot) {
  MachineConfig config;
  GetParam().change(config);
  try {
    check_config("web", config);
    FAIL() << "it was accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(std::string("machines.web.") + GetParam().text));
    EXPECT_THAT(error.what(), HasSubstr("\n  hint: "));
  }
}

INSTANTIATE_TEST_SUITE_P(
    , NspawnRefuses,
    testing::Values(
        Refusal{"kernel", [](MachineConfig& c) { c.kernel = "/k"; }, "kernel: a container runs"},
        Refusal{"initrd", [](MachineConfig& c) { c.initrd = "/i"; }, "initrd"},
        Refusal{"cmdline", [](MachineConfig& c) { c.cmdline = "quiet"; }, "cmdline"},
        Refusal{"disks", [](MachineConfig& c) { c.disks = {{.size_mb = 1}}; }, "disks"},
        Refusal{"start_script", [](MachineConfig& c) { c.start_script = "/s"; }, "start_script"},
        Refusal{"firmware", [](MachineConfig& c) { c.firmware = "/f"; }, "firmware"},
        Refusal{"graphics", [](MachineConfig& c) { c.graphics = true; }, "graphics"},
        Refusal{"internet_without_a_card",
                [](MachineConfig& c) {
                  c.internet = true;
                  c.network = "none";
                },
                "internet: with 'network' none"},
        Refusal{"state", [](MachineConfig& c) { c.keep_machine_state = true; },
                "keep_machine_state"},
        Refusal{"network", [](MachineConfig& c) { c.network = "bridge"; },
                "network: expected 'veth', 'host' or 'none', got 'bridge'"},
        Refusal{"image_and_toplevel",
                [](MachineConfig& c) {
                  c.image = "debian";
                  c.nspawn.toplevel = "/nix/store/x";
                },
                "image"},
        Refusal{"mount_on_proc",
                [](MachineConfig& c) { c.mounts = {{.host = "/srv", .guest = "/proc/x"}}; },
                "mounts: '/proc/x'"},
        Refusal{"file_in_sys", [](MachineConfig& c) { c.files = {{.from = "/f", .to = "/sys/f"}}; },
                "files: '/sys/f'"}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace attest::nspawn
