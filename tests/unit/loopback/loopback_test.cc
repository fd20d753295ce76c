// The loopback machine with the real agent, and with a shell: what it has of its own, and what the
// host must not notice. tests/unit/shell/loopback_test.cc holds what both have in common.
#include "backends/loopback/loopback.h"

#include "attest/error.h"
#include "lib/async/loop.h"
#include "lib/async/within.h"
#include "lib/base/file.h"
#include "lib/guest/agent_binary.h"
#include "lib/guest/guest.h"

#include <gmock/gmock.h>

#include <sys/stat.h>

#include <chrono>

namespace attest::loopback {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

class LoopbackMachine : public testing::Test {
 protected:
  LoopbackMachine() {
    context.machine = "web";
    context.agent = guest::agent_binary();
    context.work_dir = dir.path() / "work" / "web";
    context.loop = loop.executor();
    context.console = [this](std::string_view bytes) { console += bytes; };
    fs::create_directories(context.work_dir);
    fs::create_directories(dir.path() / "shown");
    base::write_file(dir.path() / "shown" / "hello", "hello\n");
  }
  ~LoopbackMachine() override { loop.run(drop()); }

  void boot() { loop.run(boot_and_listen()); }
  std::string run(const std::string& text) {
    guest::Command command{.shell = text, .argv = {}};
    auto result = loop.run(machine->run(command, Deadline::after(10s)));
    return result.output + (result.exit_code ? "exit " + std::to_string(result.exit_code) : "");
  }
  bool namespaces() { return !backend->shared_dir().empty(); }

  base::TempDir dir;
  async::Loop loop;
  BackendContext context;
  std::string console, greeting;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<guest::Guest> machine;

 private:
  Task<void> boot_and_listen() {
    if (!backend) backend = make_loopback(context);
    auto stream = co_await backend->boot(Deadline::after(10s));
    guest::Bootstrap none;
    machine = co_await guest::greet(std::move(stream), std::move(none), Deadline::after(10s));
  }
  Task<void> drop() {
    machine.reset();
    backend.reset();
    co_return;
  }
};

Task<std::string> first_bytes(Backend* backend) {
  auto stream = co_await backend->boot(Deadline::after(10s));
  std::array<char, 100> buffer;
  auto count = co_await async::within(Deadline::after(10s), "greeting", stream->read_some(buffer));
  co_return std::string(buffer.data(), count);
}

TEST_F(LoopbackMachine, IsGreetedByTheAgentUnlessAShellIsWanted) {
  struct {
    bool agent;
    const char *shell, *greeting;
  } rows[] = {{true, "bash", "\nATTEST-AGENT/1 "},
              {false, "bash", "Spawning backdoor root shell...\n"},
              {true, "sh", "Spawning backdoor root shell...\n"}};
  for (auto& row : rows) {
    context.config.loopback = {.agent = row.agent, .shell = row.shell};
    auto one = make_loopback(context);
    EXPECT_THAT(loop.run(first_bytes(one.get())), StartsWith(row.greeting));
    loop.run([](std::unique_ptr<Backend> done) -> Task<void> {
      done.reset();
      co_return;
    }(std::move(one)));
  }
}

TEST_F(LoopbackMachine, RunsCommandsAsRootWithPlacesOfItsOwn) {
  boot();
  EXPECT_EQ(run("echo $USER $HOME $PWD; cat /proc/1/comm"), "root /root /tmp\nsh\n");
  EXPECT_EQ(console, "connecting to host...\n");
}

TEST_F(LoopbackMachine, BootsInMilliseconds) {
  boot();  // the first one fills the caches
  auto started = Clock::now();
  boot();
  auto took = Clock::now() - started;
  RecordProperty("ms", static_cast<int>(took / 1ms));
  EXPECT_LT(took, 10s) << "measured: 20 ms";
}

TEST_F(LoopbackMachine, SharesTheDirectoryOfAllMachines) {
  boot();
  if (!namespaces()) GTEST_SKIP() << "this host permits no namespaces";
  base::write_file(backend->shared_dir() / "from-host", "x");
  EXPECT_EQ(run("cat /tmp/shared/from-host; echo y >/tmp/shared/from-guest"), "x");
  EXPECT_EQ(base::read_file(backend->shared_dir() / "from-guest"), "y\n");
}

TEST_F(LoopbackMachine, SeesMountsAndKeepsThemFromTheHost) {
  auto shown = (dir.path() / "shown").string();
  context.config.mounts = {{shown, "/tmp/deep/down", false}, {shown, "/etc/attest-test", true}};
  boot();
  if (!namespaces()) GTEST_SKIP() << "this host permits no namespaces";
  EXPECT_EQ(run("cat /tmp/deep/down/hello /etc/attest-test/hello"), "hello\nhello\n");
  EXPECT_EQ(run("touch /tmp/deep/down/new 2>/dev/null || echo no"), "no\n");
  EXPECT_EQ(run("echo new >/etc/attest-test/new"), "");
  EXPECT_EQ(base::read_file(dir.path() / "shown" / "new"), "new\n");
  EXPECT_FALSE(fs::exists("/etc/attest-test")) << "the host's /etc was changed";
  for (auto& mount : context.config.mounts) {
    auto made = loop.run(backend->file_sharing()->share(mount.host, mount.guest, mount.writable,
                                                        Deadline::after(1s)));
    EXPECT_EQ(made.type, "");
  }
  EXPECT_THROW(
      loop.run(backend->file_sharing()->share(shown, "/tmp/other", false, Deadline::after(1s))),
      Error);
}

TEST_F(LoopbackMachine, HasTheFilesOfItsConfig) {
  auto from = (dir.path() / "shown" / "hello").string();
  context.config.files = {{from, "/run/a/b c/hello", "0751"}, {from, "/etc/attest-file", "0600"}};
  boot();
  if (!namespaces()) GTEST_SKIP() << "this host permits no namespaces";
  EXPECT_EQ(run("cd '/run/a/b c'; cat hello /etc/attest-file; stat -c %a hello /etc/attest-file"),
            "hello\nhello\n751\n600\n");
  EXPECT_FALSE(fs::exists("/etc/attest-file")) << "the host's /etc was changed";
}

TEST_F(LoopbackMachine, SaysWhyAFileCannotBeThere) {
  context.config.files = {{(dir.path() / "missing").string(), "/tmp/x", "0644"}};
  EXPECT_THROW(boot(), Error);
  auto gone = loop.run(backend->wait_gone(Deadline::after(10s)));
  EXPECT_FALSE(gone.orderly);
  EXPECT_THAT(console, HasSubstr("missing cannot be copied to /tmp/x"));
}

TEST_F(LoopbackMachine, EndsInOrderAndStartsAfresh) {
  boot();
  run("echo x >/tmp/kept");
  loop.run(backend->shutdown(Deadline::after(10s)));
  auto gone = loop.run(backend->wait_gone(Deadline::after(10s)));
  EXPECT_TRUE(gone.orderly) << gone.cause;
  boot();
  EXPECT_EQ(run("test ! -e /tmp/kept"), "");
}

TEST_F(LoopbackMachine, TakesItsProcessesAlong) {
  boot();
  if (!namespaces()) GTEST_SKIP() << "this host permits no namespaces";
  auto mark = dir.path().filename().string();
  run("setsid sh -c 'exec -a " + mark + " sleep 1000' >/dev/null 2>&1 & true");
  loop.run([](Backend* victim) -> Task<void> {
    victim->kill();
    co_return;
  }(backend.get()));
  for (auto& entry : fs::directory_iterator("/proc")) {
    auto words = base::try_read_file(entry.path() / "cmdline");
    EXPECT_FALSE(words && words->starts_with(mark)) << entry.path();
  }
}

TEST(LoopbackCheck, RefusesWhatBelongsToTheKernel) {
  MachineConfig config;
  config.files = {{"/etc/hostname", "/proc/x", "0644"}};
  EXPECT_THROW(check_config("web", config), Error);
  config.files = {};
  config.mounts = {{"/etc", "/dev/x", false}};
  EXPECT_THROW(check_config("web", config), Error);
}

}  // namespace
}  // namespace attest::loopback
