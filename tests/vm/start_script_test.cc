// Machines that are nixpkgs-style start scripts: run-<name>-vm brings its own QEMU command line,
// takes $QEMU_OPTS and "$@", and joins its VLANs by VDE through $QEMU_VDE_SOCKET_<v>. A virtual
// machine with an image is on the same VLAN.
#include "backends/image/image.h"
#include "backends/image/seed.h"
#include "lib/base/file.h"
#include "lib/net/plan.h"

#include <attest/gtest.h>

#include <sys/stat.h>

#include <string>

namespace attest {
namespace {

// The script of one machine, beside its seeded initrd, in `dir`.
std::string make_script(const std::filesystem::path& dir, const net::Plan& plan,
                        const std::string& name) {
  auto guest = image::find_image("", "qemu");
  auto initrd = dir / (name + ".initrd");
  base::write_file(initrd,
                   image::append_seed(base::read_file(guest.initrd), net::seed_files(plan, name)));
  auto script = dir / ("run-" + name + "-vm");
  base::write_file(script,
                   "#!/bin/sh\n"
                   "exec qemu-system-x86_64 -name " +
                       name +
                       " -machine q35,accel=kvm:tcg -cpu max -m 384 -vga none \\\n"
                       "  -kernel " +
                       guest.kernel.string() + " -initrd " + initrd.string() + " \\\n  -append \"" +
                       guest.cmdline +
                       " console=ttyS0 net.ifnames=0 panic=-1 $QEMU_KERNEL_PARAMS\" \\\n"
                       "  -drive if=none,id=root,format=raw,readonly=on,file=" +
                       guest.root.string() +
                       " -device virtio-blk-pci,drive=root \\\n"
                       "  -netdev vde,id=vlan1,sock=\"$QEMU_VDE_SOCKET_1\"" +
                       " -device virtio-net-pci,netdev=vlan1,mac=" + plan.node(name).nics[0].mac +
                       " \\\n  $QEMU_OPTS \"$@\"\n");
  ::chmod(script.c_str(), 0755);
  return script;
}

class StartScripts : public Test {
 public:
  Config config() const override {
    static base::TempDir dir("attest-scripts-");
    auto plan = net::make_plan({{"one", {1}}, {"two", {1}}, {"zoe", {1}}});
    Config config;
    for (auto* name : {"one", "two"})
      config.machines[name].start_script = make_script(dir.path(), plan, name);
    config.machines["zoe"].memory_mb = 384;  // last in the alphabet: the others keep their numbers
    return config;
  }
};

TEST_F(StartScripts, BootAndMeetEachOtherAndTheRest) {
  start_all();
  machine("one").wait_until_succeeds("ping -c 1 -W 5 two");
  machine("two").wait_until_succeeds("ping -c 1 -W 5 one");
  machine("two").wait_until_succeeds("ping -c 1 -W 5 zoe");
  machine("zoe").wait_until_succeeds("ping -c 1 -W 5 one");
}

TEST_F(StartScripts, ObeyFaults) {
  auto& one = machine("one");
  one.wait_until_succeeds("ping -c 1 -W 5 two");
  auto split = network().partition({"one"}, {"two"});
  one.fail("ping -c 1 -W 2 two");
  one.wait_until_succeeds("ping -c 1 -W 5 zoe");
  split.heal();
  one.wait_until_succeeds("ping -c 1 -W 2 two", {.timeout = std::chrono::seconds(60)});
}

// The script's image starts no agent: it came over the backdoor shell and serves on the port that
// was added to the script's arguments.
TEST_F(StartScripts, GetTheAgent) {
  auto& one = machine("one");
  one.require_unit_state("backdoor.service");
  one.succeed("test ! -e /usr/lib/attest/attest-agent && pgrep attest-agent");
  auto waiting = one.spawn({.shell = "read -r line; echo got $line"});
  EXPECT_EQ(one.succeed("echo beside it"), "beside it\n");
  waiting.write("a line\n");
  EXPECT_EQ(waiting.read_line(), "got a line");
  EXPECT_EQ(waiting.wait().exit_code, 0);
}

TEST_F(StartScripts, ShutDownInOrder) {
  machine("one").shutdown();
  EXPECT_FALSE(machine("one").is_up());
}

}  // namespace
}  // namespace attest
