// Golden files in tests/golden/qemu: one argument a line. ATTEST_UPDATE_GOLDEN=1 writes them anew
// and reports the tests as skipped, so that a rewrite never looks like a pass.
#include "backends/qemu/command_line.h"

#include "attest/error.h"
#include "backends/qemu/start_script.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace attest::qemu {
namespace {

using testing::HasSubstr;

struct Machine {
  MachineConfig config;
  Launch launch;
  std::vector<NetworkAttachment> network;
};

NetworkAttachment nic(int vlan, const std::string& mac) {
  return {.vlan = vlan, .mac = mac, .socket = "/run/attest/vlan" + std::to_string(vlan)};
}

// The default machine: the Debian image under TCG, on VLAN 1.
Machine standard() {
  Machine machine;
  machine.launch.machine = "web";
  machine.launch.kernel = "/images/debian/vmlinuz";
  machine.launch.initrd = "/run/attest/web/initrd";
  machine.launch.cmdline = "root=/dev/vda quiet";
  machine.launch.disks = {
      {.file = "/images/debian/root.erofs", .format = "raw", .read_only = true}};
  machine.launch.tsc_khz = 2300000;
  machine.network = {nic(1, "52:54:00:12:01:02")};
  return machine;
}

struct GoldenCase {
  const char* name;
  void (*change)(Machine&);
};

void compare(const std::string& name, const std::vector<std::string>& arguments) {
  std::filesystem::path file = std::string(ATTEST_GOLDEN_DIR) + "/qemu/" + name + ".args";
  std::string text = base::join(arguments, "\n") + "\n";
  const char* update = std::getenv("ATTEST_UPDATE_GOLDEN");
  if (update && *update) {
    base::write_file(file, text);
    GTEST_SKIP() << "wrote " << file;
  }
  EXPECT_EQ(text, base::read_file(file)) << "ATTEST_UPDATE_GOLDEN=1 rewrites " << file;
}

class QemuCommandLine : public testing::TestWithParam<GoldenCase> {};

TEST_P(QemuCommandLine, IsAsInItsGoldenFile) {
  Machine machine = standard();
  GetParam().change(machine);
  check_config("web", machine.config);
  compare(GetParam().name, command_line(machine.config, machine.launch, machine.network));
}

INSTANTIATE_TEST_SUITE_P(
    , QemuCommandLine,
    testing::Values(
        GoldenCase{"q35", [](Machine&) {}},
        GoldenCase{"q35_kvm", [](Machine& m) { m.launch.kvm = true; }},
        GoldenCase{"microvm", [](Machine& m) { m.config.qemu.machine = "microvm"; }},
        GoldenCase{"microvm_kvm",
                   [](Machine& m) {
                     m.config.qemu.machine = "microvm";
                     m.launch.kvm = true;
                   }},
        GoldenCase{"microvm_two_vlans_two_disks",
                   [](Machine& m) {
                     m.config.qemu.machine = "microvm,acpi=on,rtc=off";
                     m.network.push_back(nic(7, "52:54:00:12:07:02"));
                     m.launch.disks.push_back({.file = "/dev/fdset/10", .format = "qcow2"});
                     m.launch.fd_sets = {10};
                   }},
        GoldenCase{"two_vlans",
                   [](Machine& m) { m.network.push_back(nic(7, "52:54:00:12:07:02")); }},
        GoldenCase{"no_network", [](Machine& m) { m.network.clear(); }},
        GoldenCase{"vde",
                   [](Machine& m) {
                     m.network[0].socket.clear();
                     m.network[0].vde = "/run/attest/vde1.ctl";
                   }},
        GoldenCase{"tap",
                   [](Machine& m) {
                     m.network.push_back(nic(7, "52:54:00:12:07:02"));
                     m.network[1].socket.clear();
                     m.network[1].interface = "at0v7n2";
                   }},
        GoldenCase{"disks",
                   [](Machine& m) {
                     m.launch.disks.push_back({.file = "/dev/fdset/10", .format = "qcow2"});
                     m.launch.disks.push_back({.file = "/dev/fdset/11", .format = "raw"});
                     m.launch.disks.push_back(
                         {.file = "/odd,name/d.img", .format = "raw", .read_only = true});
                     m.launch.fd_sets = {10, 11};
                   }},
        GoldenCase{"credentials_smbios",
                   [](Machine& m) {
                     m.launch.credentials = {
                         {"passwd.hashed-password.root", "/run/a,b/credential-0"}};
                   }},
        GoldenCase{"credentials_microvm",
                   [](Machine& m) {
                     m.config.qemu.machine = "microvm";
                     m.launch.credentials = {{"token", "/run/a,b/credential-0"}};
                   }},
        GoldenCase{"graphics", [](Machine& m) { m.config.graphics = true; }},
        GoldenCase{"firmware_and_disk",
                   [](Machine& m) {
                     m.config.firmware = "/usr/share/ovmf/OVMF.fd";
                     m.launch.kernel.clear();
                     m.launch.disks = {{.file = "/dev/fdset/10", .format = "qcow2"}};
                     m.launch.fd_sets = {10};
                   }},
        GoldenCase{"agent_alone", [](Machine& m) { m.launch.shell = false; }},
        GoldenCase{"no_agent", [](Machine& m) { m.launch.agent = m.config.qemu.agent = false; }},
        GoldenCase{"microvm_agent_alone",
                   [](Machine& m) {
                     m.config.qemu.machine = "microvm";
                     m.launch.shell = false;
                   }},
        GoldenCase{"shares", [](Machine& m) { m.launch.share_slots = 2; }},
        GoldenCase{"allow_reboot", [](Machine& m) { m.config.allow_reboot = true; }},
        GoldenCase{"debug_boot", [](Machine& m) { m.config.debug_boot = true; }},
        GoldenCase{"kernel_by_hand",
                   [](Machine& m) {
                     m.config.kernel = m.launch.kernel = "/boot/vmlinuz";
                     m.config.initrd = m.launch.initrd = "/boot/initrd.img";
                     m.config.cmdline = "root=LABEL=x init=/bin/sh";
                     m.launch.cmdline.clear();
                     m.launch.disks.clear();
                   }},
        GoldenCase{"large",
                   [](Machine& m) {
                     m.config.vcpus = 4;
                     m.config.memory_mb = 4096;
                     m.config.qemu.cpu = "max,-svm";
                     m.config.qemu.binary = "/opt/qemu/bin/qemu-system-x86_64";
                     m.config.extra_args = {"-device", "virtio-balloon-pci"};
                   }}),
    [](const auto& row) { return row.param.name; });

class QemuStartScript : public testing::TestWithParam<GoldenCase> {};

TEST_P(QemuStartScript, IsCalledAsInItsGoldenFile) {
  Machine machine;
  machine.config.start_script = "/nix/store/x/bin/run-web-vm";
  machine.network = {{.vlan = 1, .vde = "/run/attest/vde1.ctl"},
                     {.vlan = 12, .vde = "/run/attest/vde12.ctl"}};
  GetParam().change(machine);
  check_config("web", machine.config);
  ScriptLaunch launch{
      .socket_dir = "/run/attest/web",
      .state_dir = machine.config.keep_machine_state ? "/results/web/state" : "/run/attest/web",
      .shared_dir = "/run/attest/shared-xchg",
      .kvm = machine.launch.kvm,
      .credentials = machine.launch.credentials};
  std::vector<std::string> lines;
  for (auto& [key, value] : script_environment("web", launch, machine.network))
    lines.push_back(key + "=" + value);
  for (auto& word : script_command(machine.config, launch)) lines.push_back(word);
  compare(GetParam().name, lines);
}

INSTANTIATE_TEST_SUITE_P(
    , QemuStartScript,
    testing::Values(GoldenCase{"script", [](Machine&) {}},
                    GoldenCase{"script_no_agent", [](Machine& m) { m.config.qemu.agent = false; }},
                    GoldenCase{"script_kept_state",
                               [](Machine& m) { m.config.keep_machine_state = true; }},
                    GoldenCase{"script_kvm", [](Machine& m) { m.launch.kvm = true; }},
                    GoldenCase{"script_variants",
                               [](Machine& m) {
                                 m.config.graphics = true;
                                 m.config.allow_reboot = true;
                                 m.config.extra_args = {"-m", "2048"};
                                 m.launch.credentials = {{"token", "/run/attest/web/credential-0"}};
                               }}),
    [](const auto& row) { return row.param.name; });

TEST(QemuStartScriptTest, NeedsASwitchForEachVlan) {
  try {
    script_environment("web", {}, {nic(3, "52:54:00:12:03:01")});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::host);
    EXPECT_THAT(error.what(), HasSubstr("VLAN 3"));
  }
}

struct KernelCase {
  const char* name;
  const char* script;
  const char* kernel;
};
class KernelOfScript : public testing::TestWithParam<KernelCase> {};
TEST_P(KernelOfScript, IsFoundInItsText) {
  EXPECT_EQ(kernel_of_script(GetParam().script), GetParam().kernel);
}
INSTANTIATE_TEST_SUITE_P(
    , KernelOfScript,
    testing::Values(KernelCase{"plain",
                               "exec qemu \\\n  -kernel /nix/store/a/kernel \\\n  -initrd x",
                               "/nix/store/a/kernel"},
                    KernelCase{"with_a_default",
                               "-kernel ${NIXPKGS_QEMU_KERNEL_web:-/nix/store/a/kernel} \\\n",
                               "/nix/store/a/kernel"},
                    KernelCase{"quoted", "-kernel \"/nix/store/a/kernel\"", "/nix/store/a/kernel"},
                    KernelCase{"none", "exec qemu -bios OVMF.fd", ""},
                    KernelCase{"computed", "-kernel $KERNEL", ""}),
    [](const auto& row) { return row.param.name; });

struct RefusedCase {
  const char* name;
  void (*change)(MachineConfig&);
  Error::Kind kind;
  const char* key;
  const char* instead;
};
class QemuConfigCheck : public testing::TestWithParam<RefusedCase> {};

TEST_P(QemuConfigCheck, NamesTheKeyAndWhatToUseInstead) {
  MachineConfig config;
  GetParam().change(config);
  try {
    check_config("web", config);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), GetParam().kind);
    EXPECT_THAT(error.what(), HasSubstr("machine 'web' (qemu)"));
    EXPECT_THAT(error.what(), HasSubstr(GetParam().key));
    EXPECT_THAT(error.what(), HasSubstr(GetParam().instead));
  }
}

using Kind = Error::Kind;
INSTANTIATE_TEST_SUITE_P(
    , QemuConfigCheck,
    testing::Values(RefusedCase{"file_in_tmp",
                                [](MachineConfig& c) {
                                  c.files = {{.from = "/a", .to = "/tmp/b"}};
                                },
                                Kind::unsupported, "'/tmp/b'", "a command after the boot"},
                    RefusedCase{"internet_of_a_start_script",
                                [](MachineConfig& c) {
                                  c.start_script = "/run-web-vm";
                                  c.internet = true;
                                },
                                Kind::unsupported, "'internet'", "an image"},
                    RefusedCase{"network", [](MachineConfig& c) { c.network = "veth"; },
                                Kind::unsupported, "'network' (here 'veth')", "'vlans'"},
                    RefusedCase{"initrd_alone", [](MachineConfig& c) { c.initrd = "/x"; },
                                Kind::usage, "'initrd'", "an image"},
                    RefusedCase{"no_memory", [](MachineConfig& c) { c.memory_mb = 0; }, Kind::usage,
                                "'memory_mb'", "default"},
                    RefusedCase{"graphics_on_microvm",
                                [](MachineConfig& c) {
                                  c.graphics = true;
                                  c.qemu.machine = "microvm";
                                },
                                Kind::unsupported, "'graphics'", "q35"},
                    RefusedCase{"long_credential_on_microvm",
                                [](MachineConfig& c) {
                                  c.credentials["ssh.authorized_keys.root.and.more"] = "x";
                                  c.qemu.machine = "microvm";
                                },
                                Kind::unsupported, "'ssh.authorized_keys.root.and.more'", "q35"},
                    RefusedCase{"script_with_cmdline",
                                [](MachineConfig& c) {
                                  c.start_script = "/x";
                                  c.cmdline = "quiet";
                                },
                                Kind::unsupported, "'cmdline'", "boot.kernelParams"},
                    RefusedCase{"script_with_files",
                                [](MachineConfig& c) {
                                  c.start_script = "/x";
                                  c.files = {{"/a", "/b"}};
                                },
                                Kind::unsupported, "'files'", "environment.etc"},
                    RefusedCase{"script_with_disks",
                                [](MachineConfig& c) {
                                  c.start_script = "/x";
                                  c.disks = {{.path = "/a"}};
                                },
                                Kind::unsupported, "'disks'", "emptyDiskImages"}),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace attest::qemu
