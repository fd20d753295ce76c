// sim-firecracker with the default guest: boots, saves, restores, ends. Raw over its sockets.
// Needs the image of guest/debian/build.sh; skips with the way to it otherwise.
#include "attest/error.h"
#include "lib/base/file.h"
#include "tests/sims/guest_files.h"
#include "tests/sims/sim_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>

namespace attest::sims {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;

const std::string greeting = "ATTEST-AGENT/1 ";

class SimFirecrackerGuest : public testing::Test {
 protected:
  void SetUp() override {
    try {
      image_ = default_image("firecracker");
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    write_initrd(image_, path("initrd"));
  }
  void TearDown() override {
    if (HasFailure() && fs::exists(path("out")))
      std::fprintf(stderr, "output:\n%s\n", base::read_file(path("out")).c_str());
  }

  std::string path(const std::string& name) const { return (dir_.path() / name).string(); }

  // A monitor with sockets of its own names, and the listener that its guest dials.
  struct Monitor {
    Monitor(const SimFirecrackerGuest& test, std::string called,
            std::vector<std::string> flags = {}, std::vector<std::string> env = {})
        : name(std::move(called)), dialled(test.path(name + ".vsock_1024")), directory(test) {
      std::vector<std::string> argv = {std::getenv("ATTEST_SIM_FIRECRACKER")};
      if (flags.empty() || flags[0] != "--no-api")
        argv.insert(argv.end(), {"--api-sock", test.path(name + ".api")});
      argv.insert(argv.end(), flags.begin(), flags.end());
      process = std::make_unique<SimProcess>(argv, test.path("out"), std::move(env));
    }
    void call(const std::string& method, const std::string& target, const json& body) {
      if (!api) api = std::make_unique<SimSocket>(directory.path(name + ".api"));
      auto reply = api->request(method, target, body.dump());
      EXPECT_EQ(reply.status, 204) << target << reply.body;
    }
    // Bytes of a connection to a port of the guest; "" if it is refused.
    SimSocket connect(int port) {
      SimSocket socket(directory.path(name + ".vsock"));
      socket.send("CONNECT " + std::to_string(port) + "\n");
      return socket;
    }
    // Connected to the guest's shell, which may come up later than the agent.
    SimSocket shell() {
      auto socket = connect(1234);
      std::string answer = socket.line();
      for (; answer.empty(); answer = socket.line()) socket = connect(1234);
      EXPECT_THAT(answer, StartsWith("OK "));
      EXPECT_EQ(socket.line(), "Spawning backdoor root shell...\n");
      return socket;
    }
    // What the guest's shell prints.
    std::string run(const std::string& command) {
      auto shell = this->shell();
      shell.send(command + "; echo; echo the-end\n");
      std::string output;
      for (std::string line = shell.line(); line != "the-end\n" && !line.empty();
           line = shell.line())
        output += line;
      return output;
    }
    std::string name;
    SimListener dialled;
    const SimFirecrackerGuest& directory;
    std::unique_ptr<SimProcess> process;
    std::unique_ptr<SimSocket> api;
  };

  json boot_source() const {
    return {{"kernel_image_path", image_.vmlinux.string()},
            {"initrd_path", path("initrd")},
            {"boot_args", "console=ttyS0 reboot=k " + image_.cmdline}};
  }
  json root() const {
    return {{"drive_id", "root"},
            {"path_on_host", image_.root.string()},
            {"is_root_device", true},
            {"is_read_only", true}};
  }
  json vsock(const std::string& name) const {
    return {{"guest_cid", 3}, {"uds_path", path(name + ".vsock")}};
  }
  json machine(int vcpus) const { return {{"vcpu_count", vcpus}, {"mem_size_mib", 384}}; }

  void boot(Monitor& monitor, int vcpus = 1) {
    monitor.call("PUT", "/machine-config", machine(vcpus));
    monitor.call("PUT", "/boot-source", boot_source());
    monitor.call("PUT", "/drives/root", root());
    monitor.call("PUT", "/vsock", vsock(monitor.name));
    monitor.call("PUT", "/entropy", json::object());
    monitor.call("PUT", "/actions", {{"action_type", "InstanceStart"}});
  }
  // The guest's own connection, greeted.
  static SimSocket greeted(SimSocket socket) {
    EXPECT_EQ(socket.line(), "\n");
    EXPECT_THAT(socket.line(), StartsWith(greeting));
    socket.send("\nATTEST-HOST/1 0123456789abcdef\n");
    ping(socket);
    return socket;
  }
  static void ping(SimSocket& socket) {
    using namespace std::string_literals;
    socket.send("\0\0\0\3\x09\0\0\0\0abc"s);
    EXPECT_EQ(socket.read(12), "\0\0\0\3\x0a\0\0\0\0abc"s);
  }
  void save(Monitor& monitor, const std::string& name) const {
    monitor.call("PATCH", "/vm", {{"state", "Paused"}});
    monitor.call(
        "PUT", "/snapshot/create",
        {{"snapshot_path", path(name + ".state")}, {"mem_file_path", path(name + ".mem")}});
  }
  void load(Monitor& monitor, const std::string& name, bool resume = true) const {
    monitor.call(
        "PUT", "/snapshot/load",
        {{"snapshot_path", path(name + ".state")},
         {"mem_backend", {{"backend_type", "File"}, {"backend_path", path(name + ".mem")}}},
         {"vsock_override", {{"uds_path", path(monitor.name + ".vsock")}}},
         {"resume_vm", resume}});
  }

  base::TempDir dir_;
  image::Image image_;
};

TEST_F(SimFirecrackerGuest, BootsSavesAndRestoresTwice) {
  std::string memory;
  {
    Monitor first(*this, "a");
    boot(first, 2);
    auto agent = greeted(first.dialled.accept());
    auto refused = first.connect(99);
    EXPECT_TRUE(refused.at_end());
    EXPECT_THAT(first.run("nproc; echo one >/tmp/mark"), HasSubstr("2\n"));
    auto reply = first.api->request("PUT", "/snapshot/create",
                                    R"({"snapshot_path": "a", "mem_file_path": "b"})");
    EXPECT_THAT(reply.body, HasSubstr("save/restore unavailable while running"));
    save(first, "one");
    first.call("PATCH", "/vm", {{"state", "Resumed"}});
    // The snapshot has reset the connections of the machine that goes on, too.
    EXPECT_TRUE(agent.at_end());
    greeted(first.dialled.accept());
    EXPECT_EQ(fs::file_size(path("one.mem")), 384u << 20);
    memory = base::read_file(path("one.mem"));
  }
  {
    // A state file that was cut: an answer first, then the end.
    auto state = base::read_file(path("one.state"));
    base::write_file(path("cut.state"), state.substr(0, state.size() / 2));
    fs::copy_file(path("one.mem"), path("cut.mem"));
    Monitor victim(*this, "v");
    SimSocket api(path("v.api"));
    auto reply = api.request(
        "PUT", "/snapshot/load",
        R"({"snapshot_path": ")" + path("cut.state") + R"(", "mem_file_path": ")" +
            path("cut.mem") + R"(", "vsock_override": {"uds_path": ")" + path("v.vsock") + "\"}}");
    EXPECT_EQ(reply.status, 400);
    EXPECT_THAT(reply.body, HasSubstr("Load snapshot error: Failed to restore from snapshot: "));
    EXPECT_EQ(victim.process->wait(), 1);
  }
  Monitor clone(*this, "b"), twin(*this, "c");
  load(clone, "one");
  load(twin, "one");
  greeted(clone.dialled.accept());
  greeted(twin.dialled.accept());
  EXPECT_THAT(clone.run("cat /tmp/mark; echo two >/tmp/mark"), HasSubstr("one\n"));
  EXPECT_THAT(twin.run("cat /tmp/mark"), HasSubstr("one\n"));
  save(clone, "two");
  EXPECT_TRUE(memory == base::read_file(path("one.mem"))) << "a clone wrote to its template";
  Monitor third(*this, "d");
  load(third, "two", false);
  third.call("PATCH", "/vm", {{"state", "Resumed"}});
  greeted(third.dialled.accept());
  EXPECT_THAT(third.run("cat /tmp/mark"), HasSubstr("two\n"));
  // A guest that resets itself is the end of the process, in order.
  auto shell = third.shell();
  shell.send("reboot -f\n");
  EXPECT_EQ(third.process->wait(), 0);
}

TEST_F(SimFirecrackerGuest, AnswersConnectWhereNobodyIsDialled) {
  Monitor monitor(*this, "a", {}, {"ATTEST_SIM_TROUBLE=garbage:CONNECT 98,stall:CONNECT 97"});
  fs::remove(path("a.vsock_1024"));
  boot(monitor);
  EXPECT_EQ(monitor.connect(98).line(), "KO\n");
  EXPECT_TRUE(monitor.connect(97).quiet());
  std::string answer;
  // As its driver must: until the guest is up there is no answer, or the end.
  auto agent = monitor.connect(1024);
  for (answer = agent.line(); answer.empty(); answer = agent.line()) agent = monitor.connect(1024);
  EXPECT_EQ(answer, "OK 1073741824\n");
  agent = greeted(std::move(agent));
  auto shell = monitor.connect(1234);
  for (answer = shell.line(); answer.empty(); answer = shell.line()) shell = monitor.connect(1234);
  EXPECT_EQ(answer, "OK 1073741825\n");
  auto malformed = SimSocket(path("a.vsock"));
  malformed.send("CONNECT x\n");
  EXPECT_TRUE(malformed.at_end());
  auto torn = SimSocket(path("a.vsock"));
  torn.send("CONN");
  EXPECT_TRUE(torn.at_end());
  // Nothing moves while it is paused, and all of it afterwards.
  monitor.call("PATCH", "/vm", {{"state", "Paused"}});
  using namespace std::string_literals;
  agent.send("\0\0\0\3\x09\0\0\0\0abc"s);
  EXPECT_THAT(monitor.api->request("GET", "/").body, HasSubstr("\"Paused\""));
  monitor.call("PATCH", "/vm", {{"state", "Resumed"}});
  EXPECT_EQ(agent.read(12), "\0\0\0\3\x0a\0\0\0\0abc"s);
}

TEST_F(SimFirecrackerGuest, RunsFromAConfigFileAndStaysWhenTheGuestIsOff) {
  json config = {{"boot-source", boot_source()},
                 {"drives", json::array({root()})},
                 {"machine-config", machine(1)},
                 {"vsock", vsock("a")}};
  base::write_file(path("config"), config.dump());
  Monitor monitor(*this, "a", {"--no-api", "--config-file", path("config")});
  greeted(monitor.dialled.accept());
  EXPECT_FALSE(fs::exists(path("a.api")));
  auto shell = monitor.shell();
  // While it boots something may hold the kernel's console, and the last line waits for it for
  // ever.
  shell.send("systemctl is-system-running --wait\n");
  shell.send("echo the console is here >/dev/ttyS0; poweroff -f\n");
  // Nothing ends: only the console tells that the kernel has come to its end.
  std::string output;
  for (int i = 0; i < 6000 && output.find("reboot: Power down") == std::string::npos; ++i) {
    ::usleep(10'000);
    output = base::read_file(path("out"));
  }
  EXPECT_THAT(output, HasSubstr("reboot: Power down"));
  EXPECT_THAT(output, HasSubstr("the console is here"));
  EXPECT_TRUE(monitor.process->running());
}

TEST_F(SimFirecrackerGuest, WritesItsSerialPortToAFileAndObeysCtrlAltDel) {
  Monitor monitor(*this, "a");
  base::write_file(path("pmem"), "memory" + std::string((4 << 20) - 6, '\0'));
  monitor.call("PUT", "/serial", {{"serial_out_path", path("console")}});
  monitor.call("PUT", "/pmem/p",
               {{"id", "p"}, {"path_on_host", path("pmem")}, {"read_only", true}});
  base::write_file(path("disk"), "first" + std::string(4091, '\0'));
  base::write_file(path("other"), "second" + std::string(8186, '\0'));
  monitor.call("PUT", "/drives/d",
               {{"drive_id", "d"}, {"path_on_host", path("disk")}, {"is_root_device", false}});
  boot(monitor);
  greeted(monitor.dialled.accept());
  EXPECT_THAT(monitor.run("head -c 5 /dev/vdb"), HasSubstr("first"));
  monitor.call("PATCH", "/drives/d", {{"drive_id", "d"}, {"path_on_host", path("other")}});
  EXPECT_THAT(monitor.run("head -c 6 /dev/vdb; echo; blockdev --getsize64 /dev/vdb"),
              HasSubstr("second\n8192\n"));
  EXPECT_THAT(monitor.run("modprobe nfit; modprobe nd_pmem; head -c 6 /dev/pmem0"),
              HasSubstr("memory"));
  monitor.call("PUT", "/actions", {{"action_type", "SendCtrlAltDel"}});
  EXPECT_EQ(monitor.process->wait(), 0);
  EXPECT_THAT(base::read_file(path("console")), HasSubstr("reboot: Restarting system"));
  EXPECT_THAT(base::read_file(path("out")), HasSubstr("exiting successfully. exit_code=0"));
}

TEST_F(SimFirecrackerGuest, FollowsItsReleaseAfterABarePause) {
  for (bool fixed : {false, true}) {
    std::string name = fixed ? "b" : "a";
    Monitor monitor(*this, name, {},
                    {std::string("ATTEST_SIM_VERSION=") + (fixed ? "1.17.0" : "1.16.1")});
    boot(monitor);
    greeted(monitor.dialled.accept());
    monitor.shell();  // waits until there is one
    monitor.call("PATCH", "/vm", {{"state", "Paused"}});
    monitor.call("PATCH", "/vm", {{"state", "Resumed"}});
    auto shell = monitor.connect(1234);
    EXPECT_EQ(shell.quiet(), !fixed);
    // The old one takes the line and says nothing, for ever; a snapshot cures it.
    save(monitor, "cure");
    monitor.call("PATCH", "/vm", {{"state", "Resumed"}});
    monitor.shell();
  }
}

}  // namespace
}  // namespace attest::sims
