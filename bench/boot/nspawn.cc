// attest's start() and first command at multi-user.target, against the same systemd-nspawn command
// line from its start to READY=1, which systemd sends at that target. Both without a network, but
// for one row.
#include "backends/image/image.h"
#include "backends/nspawn/cgroup.h"
#include "boot.h"

#include <attest/driver.h>

#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include <fcntl.h>

namespace {

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

// What a careful person would type: nothing written to the tree, nothing left when it is killed.
constexpr auto script = R"sh(
mount -t tmpfs bench "$1/own" && mkdir "$1/own/upper" "$1/own/work" "$1/own/root" &&
mount -t overlay -o "lowerdir=$2,upperdir=$1/own/upper,workdir=$1/own/work" bench "$1/own/root" &&
mkdir -p /run/systemd/nspawn && mount -t tmpfs bench /run/systemd/nspawn &&
mount -t cgroup2 bench /sys/fs/cgroup || exit 1
exec systemd-nspawn -q -D "$1/own/root" --register=no --keep-unit --boot --notify-ready=yes \
  --machine=guest --private-network --timezone=off --resolv-conf=off --link-journal=no \
  --settings=no --console=read-only --suppress-sync=yes
)sh";

int notify_socket(const std::string& path) {
  int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die(path.c_str());
  timeval limit{60, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  return fd;
}

pid_t start_bare(const std::string& dir, const std::string& tree, const std::string& cgroup) {
  pid_t pid = ::fork();
  if (pid != 0) return pid;
  std::ofstream(cgroup + "/cgroup.procs") << ::getpid() << std::flush;
  int null = ::open("/dev/null", O_RDWR);
  for (int fd : {0, 1, 2}) ::dup2(null, fd);
  ::setenv("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1", 1);
  ::setenv("NOTIFY_SOCKET", (dir + "/notify").c_str(), 1);
  ::execlp("unshare", "unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork",
           "--kill-child=KILL", "--mount-proc", "sh", "-c", script, "sh", dir.c_str(), tree.c_str(),
           nullptr);
  ::_exit(127);
}

double bare_boot_ms(const std::string& dir, const std::string& tree) {
  attest::nspawn::Cgroup cgroup(attest::nspawn::own_cgroup().value() / "bench-bare");
  std::filesystem::create_directories(dir + "/own");
  int notify = notify_socket(dir + "/notify");
  pid_t pid = 0;
  double ms = bench::time_ms([&] {
    pid = start_bare(dir, tree, cgroup.path());
    char text[4096];
    for (std::string all; all.find("READY=1") == all.npos;) {
      ssize_t count = ::recv(notify, text, sizeof text, 0);
      if (count <= 0) die("the bare container did not get ready");
      all.append(text, static_cast<std::size_t>(count)).append("\n");
    }
  });
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  ::close(notify);
  std::filesystem::remove_all(dir);
  return ms;
}

double attest_boot_ms(attest::Ready ready, const std::string& network) {
  attest::Config config;
  config.machines["guest"].backend = "nspawn";
  config.machines["guest"].ready = ready;
  config.machines["guest"].network = network;
  std::unique_ptr<attest::Driver> driver;  // ended after the clock has stopped
  return bench::time_ms([&] {
    driver = attest::make_driver(config);
    driver->machine("guest").succeed("true");
  });
}

}  // namespace

std::vector<bench::Metric> boot_nspawn(int count) {
  // Not in the sandbox's work directory, which lies below the old /proc.
  if (::mount("bench", "/mnt", "tmpfs", 0, nullptr) != 0) die("mounting a tmpfs on /mnt");
  auto tree = attest::image::find_image("", "nspawn").tree;
  std::vector<double> ours, early, veth, bare;
  for (int i = -1; i < count; ++i) {
    double a = bare_boot_ms("/mnt/bare", tree);
    double b = attest_boot_ms(attest::Ready::multi_user, "none");
    double c = attest_boot_ms(attest::Ready::basic, "none");
    double d = attest_boot_ms(attest::Ready::multi_user, "veth");
    if (i < 0) continue;  // the first ones read the tree from the disk
    bare.push_back(a);
    ours.push_back(b);
    early.push_back(c);
    veth.push_back(d);
  }
  double mine = bench::median(ours), theirs = bench::median(bare);
  return {{"boot.nspawn_ms", mine, "ms", count, "start to first command at multi-user.target"},
          {"boot.nspawn_basic_ms", bench::median(early), "ms", count, "the same at basic.target"},
          {"boot.nspawn_veth_ms", bench::median(veth), "ms", count, "with a VLAN's address set up"},
          {"boot.nspawn_bare_ms", theirs, "ms", count, "the bare command line to READY=1"},
          {"boot.nspawn_vs_bare", mine / theirs, "ratio", count, "goal <= 1.1"}};
}
