// Monitors that fail: each ends what waits for it, with the cause, and leaves other machines alone.
// Only the stand-ins can be told to misbehave.
#include "monitors.h"

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <future>
#include <thread>

#include <sys/stat.h>

namespace attest {
namespace {

namespace fs = std::filesystem;

// What a stand-in does wrong, for as long as this lives.
class Trouble {
 public:
  explicit Trouble(const std::string& what) { ::setenv("ATTEST_SIM_TROUBLE", what.c_str(), 1); }
  Trouble(const Trouble&) = delete;
  Trouble& operator=(const Trouble&) = delete;
  ~Trouble() { ::unsetenv("ATTEST_SIM_TROUBLE"); }
};

std::string slurp(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The monitors that this process has started: its children by that program's name.
std::vector<pid_t> monitors() {
  std::vector<pid_t> found;
  for (auto& entry : fs::directory_iterator("/proc")) {
    auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != name.npos) continue;
    std::error_code failure;
    auto program = fs::read_symlink(entry.path() / "exe", failure).filename().string();
    if (failure ||
        !(program.starts_with("sim-") || program == "firecracker" || program == "cloud-hypervisor"))
      continue;
    auto stat = slurp(entry.path() / "stat");
    auto parent = std::atoi(stat.c_str() + stat.rfind(')') + 4);
    if (parent == ::getpid()) found.push_back(std::stoi(name));
  }
  return found;
}

class Troubled : public Monitors {
 public:
  Config config() const override {
    auto config = Monitors::config();
    config.machines["beta"].memory_mb = 256;
    // A program by its path: found, and not what it should be.
    for (auto* name : {"missing", "plain", "loud", "other"}) {
      auto& machine = config.machines[name];
      auto binary = (dir() / name).string();
      machine.firecracker.binary = machine.cloud_hypervisor.binary = binary;
    }
    config.machines["rootless"].kernel = kernel();
    config.machines["rootless"].memory_mb = 128;
    config.machines["stuck"].cmdline = "systemd.unit=emergency.target";
    config.machines["stuck"].memory_mb = 256;
    return config;
  }
  static const ScratchDir& dir() {
    static ScratchDir made;
    return made;
  }
  static std::string kernel() {
    const char* cache = std::getenv("XDG_CACHE_HOME");
    auto root = cache ? fs::path(cache) : fs::path(std::getenv("HOME")) / ".cache";
    return (root / "attest/guest/debian/vmlinux").string();
  }

 protected:
  static void program(const std::string& name, const std::string& text, mode_t mode = 0755) {
    std::ofstream(dir() / name) << text;
    ::chmod((dir() / name).c_str(), mode);
  }
  std::string start_error(const std::string& name) {
    return error_of([&] { machine(name).start(); });
  }
  /// The request that takes a snapshot, or loads one.
  std::string save_request() const {
    return on_firecracker() ? "PUT /snapshot/create" : "PUT /api/v1/vm.snapshot";
  }
  std::string load_request() const {
    return on_firecracker() ? "PUT /snapshot/load" : "PUT /api/v1/vm.restore";
  }
  ScratchDir scratch;
};
INSTANTIATE_TEST_SUITE_P(, Troubled, ATTEST_MONITORS);

TEST_P(Troubled, ProgramsThatAreNoMonitorsAreNamedWithTheirWords) {
  EXPECT_THAT(start_error("missing"), HasSubstr((dir() / "missing").string()));
  program("plain", "no program", 0644);
  EXPECT_THAT(start_error("plain"), HasSubstr((dir() / "plain").string()));
  program("loud", "#!/bin/sh\necho 'the licence has run out' >&2\nexit 1\n");
  EXPECT_THAT(start_error("loud"), HasSubstr("the licence has run out"));
  program("other", "#!/bin/sh\necho 'Firecraker v0.1.0'\necho 'cloud-hypervizor v0.1.0'\n");
  EXPECT_THAT(start_error("other"), HasSubstr("0.1.0"));
  EXPECT_TRUE(monitors().empty());
}

TEST_P(Troubled, AKernelThatPanicsEndsTheBootWithItsLine) {
  EXPECT_THAT(start_error("rootless"), HasSubstr("Kernel panic - not syncing: VFS"));
}

TEST_P(Troubled, EmergencyModeEndsTheWaitForReadiness) {
  auto text = error_of([&] { machine("stuck").succeed("true"); });
  EXPECT_THAT(text, HasSubstr("emergency"));
  machine("stuck").crash();
}

TEST_P(Troubled, AMonitorKilledEndsCommandsAndWaitsAndNothingElse) {
  machine("beta").succeed("true");
  auto others = monitors();
  ASSERT_EQ(others.size(), 1u);
  alpha().succeed("mkfifo /run/busy");
  auto failing = [&](auto call) {
    return std::async(std::launch::async, [call]() -> std::string {
      try {
        call();
      } catch (const Error& e) {
        return e.what();
      }
      return "it ended";
    });
  };
  auto& one = alpha();
  auto command = failing([&one] { one.succeed("echo >/run/busy; sleep 600"); });
  one.succeed("cat /run/busy");
  auto wait = failing([&one] { one.wait_for_file("/run/never"); });
  for (auto pid : monitors())
    if (pid != others[0]) ::kill(pid, SIGKILL);
  for (auto* text : {&command, &wait})
    EXPECT_THAT(text->get(),
                AllOf(HasSubstr("machine 'alpha' is gone"), HasSubstr("killed by signal 9")));
  EXPECT_EQ(machine("beta").succeed("echo well"), "well\n");
  EXPECT_EQ(alpha().succeed("echo again"), "again\n") << "the next call starts it anew";
}

TEST_P(Troubled, AStoppedMonitorMakesCommandsLateAndGoesOn) {
  machine("beta").crash();
  alpha().start();
  auto all = monitors();
  ASSERT_EQ(all.size(), 1u);
  ::kill(all[0], SIGSTOP);
  auto text = error_of(Error::Kind::timeout, [&] { alpha().succeed("true", {.timeout = 2s}); });
  ::kill(all[0], SIGCONT);
  EXPECT_THAT(text, HasSubstr("true"));
  EXPECT_EQ(alpha().succeed("echo on"), "on\n");
}

TEST_P(Troubled, ADeathWhileItSavesLeavesNoSnapshot) {
  alpha().crash();
  {
    Trouble trouble("die:" + save_request());
    alpha().start();
  }
  auto text = error_of([&] { alpha().snapshot_create(scratch / "one"); });
  EXPECT_THAT(text, HasSubstr("machine 'alpha' is gone"));
  EXPECT_TRUE(fs::is_empty(scratch.path())) << "no half of a snapshot";
  EXPECT_EQ(alpha().succeed("echo again"), "again\n");
}

TEST_P(Troubled, ARefusalWhileItSavesIsQuotedAndTheMachineGoesOn) {
  alpha().crash();
  {
    Trouble trouble("http500:" + save_request());
    alpha().start();
  }
  auto id = alpha().succeed("cat /proc/sys/kernel/random/boot_id");
  auto text = error_of([&] { alpha().snapshot_create(scratch / "one"); });
  EXPECT_THAT(text, HasSubstr("500"));
  EXPECT_TRUE(fs::is_empty(scratch.path()));
  EXPECT_EQ(alpha().succeed("cat /proc/sys/kernel/random/boot_id"), id);
}

TEST_P(Troubled, AMachineThatCannotGoOnAfterASaveIsEnded) {
  alpha().crash();
  {
    Trouble trouble(on_firecracker() ? "http500:PATCH /vm@2" : "http500:PUT /api/v1/vm.resume");
    alpha().start();
  }
  auto text = error_of([&] { alpha().snapshot_create(scratch / "one"); });
  EXPECT_THAT(text, AllOf(HasSubstr("machine 'alpha' is gone"),
                          HasSubstr("it could not go on after it was saved"), HasSubstr("500")));
  EXPECT_TRUE(fs::is_empty(scratch.path()));
  EXPECT_EQ(alpha().succeed("echo again"), "again\n");
}

TEST_P(Troubled, ADeathWhileItLoadsIsTheCause) {
  alpha().crash();  // what is wrong with it is from the test before
  alpha().succeed("true");
  alpha().snapshot_create(scratch / "one");
  for (std::string how : {"die:", "garbage:", "drop:"}) {
    Trouble trouble(how + load_request());
    auto text = error_of([&] { alpha().snapshot_restore(scratch / "one"); });
    EXPECT_THAT(text, HasSubstr("booting machine 'alpha'")) << how;
  }
  alpha().snapshot_restore(scratch / "one");
  EXPECT_EQ(alpha().succeed("echo on"), "on\n");
}

TEST_P(Troubled, ASilentMonitorIsEndedByACrash) {
  alpha().crash();
  Trouble trouble(on_firecracker() ? "stall:PUT /actions" : "stall:PUT /api/v1/vm.boot");
  alpha().crash();
  auto& late = create_machine("late", driver().config().machines.at("alpha"));
  auto starting = std::async(std::launch::async, [&]() -> std::string {
    try {
      late.start();
    } catch (const Error& e) {
      return e.what();
    }
    return "it started";
  });
  while (monitors().empty()) std::this_thread::yield();
  late.crash();
  EXPECT_THAT(starting.get(), HasSubstr("crash() pulled its plug"));
  EXPECT_TRUE(monitors().empty());
}

}  // namespace
}  // namespace attest
