// Real containers, where this host can have them (root, and the image with its tree).
#include "attest/error.h"
#include "backends/image/image.h"
#include "backends/nspawn/cgroup.h"
#include "backends/nspawn/nspawn.h"
#include "lib/async/loop.h"
#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"
#include "lib/guest/agent_binary.h"
#include "lib/guest/guest.h"
#include "lib/net/fabric.h"
#include "lib/net/kernel/netlink.h"
#include "lib/net/plan.h"

#include <gmock/gmock.h>

#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <iostream>

namespace attest::nspawn {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

std::string why_not() {
  if (::geteuid() != 0) return "only root can have containers here";
  NspawnHost host{.own_network = true, .id_range = true, .why_no_id_range = {}};
  if (auto lack = missing(host, {})) return lack->text;
  try {
    if (image::find_image("", "nspawn").tree.empty()) return "the image has no tree";
  } catch (const Error& failure) {
    return failure.what();
  }
  return "";
}

class NspawnMachine : public testing::Test {
 protected:
  void SetUp() override {
    if (auto reason = why_not(); !reason.empty()) GTEST_SKIP() << reason;
    context.machine = "web";
    context.config.network = "none";
    context.agent = guest::agent_binary();
    context.work_dir = dir.path() / "work" / "web";
    context.loop = loop.executor();
    context.console = [this](std::string_view bytes) { console += bytes; };
    context.seed = {{.path = "/etc/hostname", .content = "web\n"}};
    fs::create_directories(context.work_dir);
  }
  void TearDown() override {
    loop.run(drop());
    if (HasFailure()) std::cout << base::printable(base::last_lines(console, 30)) << "\n";
  }

  void boot() { loop.run(boot_and_listen()); }
  std::string run(const std::string& text) {
    guest::Command command{.shell = text, .argv = {}};
    auto result = loop.run(machine->run(command, Deadline::after(30s)));
    return result.output + (result.exit_code ? "exit " + std::to_string(result.exit_code) : "");
  }
  Task<void> halt() { co_await backend->shutdown(Deadline::after(20s)); }
  void backend_call(void (*call)(Backend&)) {
    loop.run([](Backend& it, void (*what)(Backend&)) -> Task<void> {
      what(it);
      co_return;
    }(*backend, call));
  }
  void drop_all() { loop.run(drop()); }
  // The loop's thread, which makes the interfaces, moves to a network of its own.
  void own_network() {
    loop.run([]() -> Task<void> {
      base::check(::unshare(CLONE_NEWNET), "making a network namespace");
      co_return;
    }());
  }
  // VLANs of a driver in that network, with us on them.
  void make_vlans(const net::Plan& plan) {
    loop.run([](NspawnMachine* self, net::Plan planned) -> Task<void> {
      std::map<std::string, Wiring> wirings;
      for (auto& [name, node] : planned.nodes) wirings[name] = Wiring::veth;
      self->fabric = std::make_unique<net::Fabric>(
          self->loop.executor(), planned, wirings,
          net::FabricSetup{.work_dir = self->dir.path(), .own_network = true});
      self->fabric->start();
      co_return;
    }(this, plan));
  }
  Task<std::vector<std::string>> links() { co_return net::Netlink().names("at"); }
  Task<void> drop() {
    machine.reset();
    backend.reset();
    fabric.reset();
    co_return;
  }

  base::TempDir dir;
  async::Loop loop;
  BackendContext context;
  std::string console;
  std::unique_ptr<net::Fabric> fabric;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<guest::Guest> machine;

 private:
  Task<void> boot_and_listen() {
    if (!backend) backend = make_nspawn(context);
    auto stream = co_await backend->boot(Deadline::after(30s));
    guest::Bootstrap none;
    machine = co_await guest::greet(std::move(stream), std::move(none), Deadline::after(30s));
  }
};

// Cgroups and cables of this process's containers that are still there.
std::string leftovers(const BackendContext& context) {
  std::string found;
  for (auto& entry : fs::directory_iterator(*own_cgroup()))
    if (auto name = entry.path().filename().string();
        name.starts_with("attest-") && name.ends_with("-" + context.machine))
      found += name + " ";
  for (auto& name : net::Netlink().names("nsptest")) found += name + " ";
  for (const char* name : {"upper", "overlay"})
    if (fs::exists(context.work_dir / name)) found += std::string(name) + " ";
  return found;
}

TEST_F(NspawnMachine, IsGreetedByTheImagesAgent) {
  boot();
  EXPECT_EQ(run("cat /proc/1/comm; hostname"), "systemd\nweb\n");
  EXPECT_EQ(run("systemctl is-active attest-agent.service"), "active\n");
  EXPECT_THAT(run("journalctl --no-pager -n 200"), testing::Not(HasSubstr("No journal files")));
}

TEST_F(NspawnMachine, WritesNothingToTheImage) {
  boot();
  EXPECT_EQ(run("touch /usr/attest-was-here /attest-was-here"), "");
  auto tree = image::find_image("", "nspawn").tree;
  EXPECT_FALSE(fs::exists(tree / "usr" / "attest-was-here"));
  loop.run(halt());
  boot();
  EXPECT_EQ(run("test -e /usr/attest-was-here || echo gone"), "gone\n");
}

TEST_F(NspawnMachine, TakesTheAgentAlongForAnImageWithoutIt) {
  // Without its unit the image starts nothing that could dial.
  context.seed.push_back({.path = "/etc/systemd/system/attest-agent.service", .content = ""});
  boot();
  EXPECT_EQ(run("cat /proc/1/comm; id -u; hostname"), "systemd\n0\nweb\n");
}

TEST_F(NspawnMachine, IsAShellWithoutTheAgent) {
  context.config.nspawn.agent = false;
  boot();
  EXPECT_EQ(run("cat /proc/1/comm; echo $HOME; hostname"), "systemd\n/root\nweb\n");
}

TEST_F(NspawnMachine, HasShellsBesideTheAgentThatEndAlone) {
  boot();
  auto open = [this] {
    auto* opener = backend->stream_opener();
    auto stream = loop.run(opener->open_shell(Deadline::after(10s)));
    return loop.run(guest::greet(std::move(stream), {}, Deadline::after(10s)));
  };
  auto say = [this](guest::Guest& shell, const std::string& text) {
    guest::Command command{.shell = text, .argv = {}};
    return loop.run(shell.run(command, Deadline::after(10s))).output;
  };
  auto first = open(), second = open();
  EXPECT_EQ(say(*first, "cat /proc/1/comm; id -u"), "systemd\n0\n");
  EXPECT_EQ(say(*second, "hostname"), "web\n");
  loop.run([](std::unique_ptr<guest::Guest>& shell) -> Task<void> {
    shell.reset();
    co_return;
  }(first));
  EXPECT_EQ(say(*second, "echo here"), "here\n");
  EXPECT_EQ(run("echo here too"), "here too\n");
  loop.run([](std::unique_ptr<guest::Guest>& shell) -> Task<void> {
    shell.reset();
    co_return;
  }(second));
  loop.run(halt());
  EXPECT_THROW(loop.run(backend->stream_opener()->open_shell(Deadline::after(1s))), Error);
}

TEST_F(NspawnMachine, HasTheHostsNetworkAndMayNotChangeIt) {
  own_network();  // "the host's", for this test
  make_vlans(net::make_plan({{"db", {1}}}));
  auto bridge = loop.run(links()).at(0);
  context.config.network = "host";
  boot();
  EXPECT_THAT(run("ls /sys/class/net"), HasSubstr(bridge));
  EXPECT_THAT(run("ip link set " + bridge + " down 2>&1 || :"), HasSubstr("not permitted"));
}

TEST_F(NspawnMachine, HasItsCredentials) {
  context.config.credentials = {{"token", "a:b c"}};
  boot();
  EXPECT_EQ(run("cat /run/host/credentials/token"), "a:b c");
}

TEST_F(NspawnMachine, SeesMountsFilesAndTheSharedDirectory) {
  fs::create_directories(dir.path() / "shown with: a blank");
  auto shown = (dir.path() / "shown with: a blank").string();
  base::write_file(shown + "/hello", "hello\n");
  context.config.mounts = {{shown, "/srv/ro", false}, {shown, "/srv/rw", true}};
  context.seed.push_back({.path = "/run/a/b", .content = "in run\n", .mode = 0600});
  context.seed.push_back(
      {.path = "/bin/attest-hi", .content = "#!/bin/sh\necho hi\n", .mode = 0755});
  boot();
  EXPECT_EQ(run("cat /srv/ro/hello /srv/rw/hello /run/a/b; attest-hi; /bin/ls -d /bin/sh"),
            "hello\nhello\nin run\nhi\n/bin/sh\n");
  EXPECT_EQ(run("touch /srv/ro/new 2>/dev/null || echo no; echo new >/srv/rw/new"), "no\n");
  EXPECT_EQ(base::read_file(shown + "/new"), "new\n");
  base::write_file(backend->shared_dir() / "from-host", "x");
  EXPECT_EQ(run("cat /tmp/shared/from-host; echo y >/tmp/shared/from-guest; stat -c %a /tmp"),
            "x1777\n");
  EXPECT_EQ(base::read_file(backend->shared_dir() / "from-guest"), "y\n");
}

TEST_F(NspawnMachine, LeavesNothingBehindAfterACrash) {
  boot();
  backend_call([](Backend& it) { it.kill(); });
  EXPECT_EQ(leftovers(context), "");
  EXPECT_THAT(loop.run(backend->wait_gone(Deadline::after(5s))).cause, HasSubstr("signal 9"));
  backend_call([](Backend& it) { it.kill(); });
  boot();
  EXPECT_EQ(run("echo again"), "again\n");
}

TEST_F(NspawnMachine, PowersOffInOrder) {
  boot();
  loop.run(halt());
  auto gone = loop.run(backend->wait_gone(Deadline::after(5s)));
  EXPECT_TRUE(gone.orderly) << gone.cause;
  EXPECT_EQ(gone.cause, "the container powered off");
  EXPECT_EQ(leftovers(context), "");
  EXPECT_THAT(console, HasSubstr("Power"));
}

TEST_F(NspawnMachine, SaysThatItPoweredItselfOff) {
  boot();
  run("systemctl poweroff --no-block");
  auto gone = loop.run(backend->wait_gone(Deadline::after(20s)));
  EXPECT_TRUE(gone.orderly) << gone.cause;
}

TEST_F(NspawnMachine, RebootsInPlaceWhereThatIsAllowed) {
  for (bool agent : {true, false}) {
    context.config.allow_reboot = true;
    context.config.nspawn.agent = agent;
    drop_all();
    boot();
    run("touch /etc/kept /run/lost");
    loop.run(machine->power(guest::Power::reboot, Deadline::after(10s)));
    loop.run(machine->wait_restarted(Deadline::after(20s)));
    EXPECT_EQ(run("cd /; ls -d etc/kept run/lost 2>/dev/null || :"), "etc/kept\n");
    EXPECT_THROW(loop.run(backend->wait_gone(Deadline::after(1ms))), Error);
    loop.run(halt());
    EXPECT_EQ(leftovers(context), "");
  }
}

TEST_F(NspawnMachine, IsOnItsVlansByCablesOfItsOwn) {
  own_network();
  auto plan = net::make_plan({{"db", {1}}, {"web", {1, 2}}});
  make_vlans(plan);
  auto bridges = loop.run(links());
  context.config.network = "";
  context.seed = net::seed_files(plan, "web");
  context.network = fabric->attachments("web");
  context.plugs = fabric->plugs("web");
  auto started = Clock::now();
  boot();
  run("systemctl is-active -q --wait basic.target || systemctl start basic.target");
  std::cout << "basic.target after " << (Clock::now() - started) / 1ms << " ms\n";
  EXPECT_EQ(run("hostname; ip -br -4 address show dev eth1 | tr -s ' ' | cut -d' ' -f2,3"),
            "web\nUP 192.168.2.2/24\n");
  EXPECT_EQ(run("cat /sys/class/net/eth0/address"), context.network[0].mac + "\n");
  for (const char* peer : {"192.168.1.254", "192.168.2.254", "2001:db8:2::254"})
    EXPECT_EQ(run("ping -c1 -W5 " + std::string(peer) + " >/dev/null"), "") << peer;
  loop.run(halt());
  auto left = loop.run(links());
  EXPECT_THAT(left, testing::UnorderedElementsAreArray(bridges));
}

TEST_F(NspawnMachine, EndsWhenItReboots) {
  boot();
  run("systemctl reboot --no-block");
  auto gone = loop.run(backend->wait_gone(Deadline::after(20s)));
  EXPECT_TRUE(gone.orderly);
  EXPECT_THAT(gone.cause, HasSubstr("rebooted"));
}

}  // namespace
}  // namespace attest::nspawn
