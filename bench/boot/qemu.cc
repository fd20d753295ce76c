// From nothing to the first answered command, both at basic.target: attest's start() and first
// succeed(), against QEMU started with the same devices and a plain socket.
#include "backends/image/image.h"
#include "backends/image/seed.h"
#include "bare_shell.h"
#include "boot.h"
#include "lib/base/file.h"
#include "lib/net/plan.h"

#include <attest/driver.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

// What a careful person would type: the guest's files, one NIC, the console into a file.
std::vector<std::string> bare_command(const attest::image::Image& image, const std::string& initrd,
                                      const std::string& dir) {
  return {"qemu-system-x86_64",
          "-M",
          "q35",
          "-accel",
          "tcg",
          "-cpu",
          "qemu64",
          "-m",
          "512",
          "-smp",
          "1",
          "-nodefaults",
          "-no-user-config",
          "-display",
          "none",
          "-no-reboot",
          "-kernel",
          image.kernel,
          "-initrd",
          initrd,
          "-append",
          image.cmdline + " console=ttyS0 net.ifnames=0 panic=-1",
          "-blockdev",
          "driver=file,node-name=root,read-only=on,filename=" + image.root.string(),
          "-device",
          "virtio-blk-pci,drive=root",
          "-netdev",
          "socket,id=net,mcast=230.0.0.1:4123,localaddr=127.0.0.1",
          "-device",
          "virtio-net-pci,netdev=net,mac=52:54:00:12:01:01",
          "-device",
          "virtio-serial-pci",
          "-chardev",
          "socket,id=shell,path=" + dir + "/shell",
          "-device",
          "virtconsole,chardev=shell",
          "-device",
          "virtio-rng-pci",
          "-serial",
          "file:" + dir + "/console"};
}

double bare_boot_ms(const attest::image::Image& image, const std::string& dir) {
  int listener = bench::listen_at(dir + "/shell");
  pid_t pid = 0;
  double ms = bench::time_ms([&] {
    // Seeding is part of starting a machine, so it is in both figures.
    auto plan = attest::net::make_plan({{"guest", {1}}}, {});
    attest::base::write_file(dir + "/initrd",
                             attest::image::append_seed(attest::base::read_file(image.initrd),
                                                        attest::net::seed_files(plan, "guest")));
    auto words = bare_command(image, dir + "/initrd", dir);
    pid = ::fork();
    if (pid == 0) {
      int null = ::open("/dev/null", O_RDWR);
      for (int fd : {0, 1, 2}) ::dup2(null, fd);
      std::vector<char*> argv;
      for (auto& word : words) argv.push_back(word.data());
      argv.push_back(nullptr);
      ::execvp(argv[0], argv.data());
      ::_exit(127);
    }
    bench::BareShell shell(bench::accept_from(listener));
    shell.await("Spawning backdoor root shell...\n");
    shell.send("systemctl is-active basic.target\n");
    shell.await("active\n");
    shell.send("echo first\n");
    shell.await("first\n");
  });
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  ::close(listener);
  std::filesystem::remove_all(dir);
  return ms;
}

double attest_boot_ms() {
  attest::Config config;
  config.machines["guest"].accel = attest::Accel::tcg;
  std::unique_ptr<attest::Driver> driver;  // ended after the clock has stopped
  return bench::time_ms([&] {
    driver = attest::make_driver(config);
    driver->machine("guest").succeed("true");
  });
}

}  // namespace

std::vector<bench::Metric> boot_qemu(const std::string& work_dir, int count) {
  auto image = attest::image::find_image("", "qemu");
  std::vector<double> ours, bare;
  for (int i = 0; i < count; ++i) {
    std::string dir = work_dir + "/bare";
    std::filesystem::create_directory(dir);
    bare.push_back(bare_boot_ms(image, dir));
    ours.push_back(attest_boot_ms());
  }
  double mine = bench::median(ours), theirs = bench::median(bare);
  return {{"boot.qemu_ms", mine, "ms", count, "start to first command"},
          {"boot.qemu_bare_ms", theirs, "ms", count, "the bare command line"},
          {"boot.qemu_vs_bare", mine / theirs, "ratio", count, "goal <= 1.05"}};
}
