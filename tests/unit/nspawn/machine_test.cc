// Real containers, where this host can have them (root, and the image with its tree).
#include "attest/error.h"
#include "backends/image/image.h"
#include "backends/nspawn/cgroup.h"
#include "backends/nspawn/nspawn.h"
#include "lib/async/loop.h"
#include "lib/base/file.h"
#include "lib/base/text.h"
#include "lib/guest/agent_binary.h"
#include "lib/guest/guest.h"

#include <gmock/gmock.h>

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
  void TearDown() override { loop.run(drop()); }

  void boot() { loop.run(boot_and_listen()); }
  std::string run(const std::string& text) {
    guest::Command command{.shell = text, .argv = {}};
    auto result = loop.run(machine->run(command, Deadline::after(30s)));
    return result.output + (result.exit_code ? "exit " + std::to_string(result.exit_code) : "");
  }
  Task<void> drop() {
    machine.reset();
    backend.reset();
    co_return;
  }

  base::TempDir dir;
  async::Loop loop;
  BackendContext context;
  std::string console;
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

TEST_F(NspawnMachine, IsGreetedByTheImagesAgent) {
  boot();
  EXPECT_EQ(run("cat /proc/1/comm; hostname"), "systemd\nweb\n");
  EXPECT_EQ(run("systemctl is-active attest-agent.service"), "active\n");
}

}  // namespace
}  // namespace attest::nspawn
