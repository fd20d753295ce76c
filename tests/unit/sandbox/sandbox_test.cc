#include "attest/sandbox.h"

#include "lib/base/file.h"
#include "lib/base/text.h"
#include "tests/unit/sandbox/probe_run.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>

namespace attest::sandbox {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
namespace fs = std::filesystem;

constexpr unsigned all_namespaces = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID;

std::string level(SandboxLevel wanted) { return std::to_string(static_cast<int>(wanted)); }

/// Skips where this host has no namespaces for us at all.
class Sandboxed : public ::testing::Test {
 protected:
  void SetUp() override {
    auto outcome = run_probe({"require", "info"});
    if (outcome.status != 0) GTEST_SKIP() << "no full sandbox here: " << outcome.output;
  }
};

class AsUser : public Sandboxed {
 protected:
  void SetUp() override {
    Sandboxed::SetUp();
    if (IsSkipped()) return;
    if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
    if (auto tried = run_probe({"require", "info"}, {.before_exec = become_nobody});
        tried.status != 0)
      GTEST_SKIP() << "this host gives ordinary users no sandbox: " << tried.output;
  }
};

void expect_full(const Outcome& outcome) {
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.value("level"), level(SandboxLevel::full)) << outcome.output;
  EXPECT_EQ(outcome.value("parent"), "1");
  EXPECT_NE(outcome.value("pid"), "1");
  EXPECT_EQ(outcome.value("uid"), "0");
  EXPECT_EQ(outcome.value("interfaces"), "lo ");
  EXPECT_EQ(outcome.value("lo"), "up");
  EXPECT_EQ(outcome.value("mode"), "700");
  EXPECT_LT(outcome.value("dir").size(), 20u);
  EXPECT_THAT(outcome.value("sentence"), StartsWith("full sandbox"));
}

TEST_F(Sandboxed, TakesEverythingForRoot) { expect_full(run_probe({"auto", "info"})); }

TEST_F(AsUser, TakesEverythingForAnOrdinaryUser) {
  auto outcome = run_probe({"auto", "info"}, {.before_exec = become_nobody});
  expect_full(outcome);
  EXPECT_THAT(outcome.value("sentence"), HasSubstr("user namespace"));
}

TEST_F(Sandboxed, HasEveryIdForRoot) {
  if (::geteuid() != 0) GTEST_SKIP() << "this is not root";
  auto outcome = run_probe({"auto", "info"});
  EXPECT_EQ(outcome.value("id_range"), "1") << outcome.output;
  EXPECT_EQ(outcome.value("chown"), "1");
}

TEST_F(AsUser, SaysWhyThereIsOnlyOneId) {
  auto outcome = run_probe({"auto", "info"}, {.before_exec = become_nobody});
  EXPECT_EQ(outcome.value("id_range"), "0");
  EXPECT_EQ(outcome.value("chown"), "0");
  EXPECT_THAT(outcome.value("why_no_id_range"),
              ::testing::AnyOf(HasSubstr("usermod --add-subuids 100000-165535 --add-subgids "
                                         "100000-165535 nobody"),
                               HasSubstr("package uidmap")));
  outcome = run_probe({"off", "info"}, {.before_exec = become_nobody});
  EXPECT_EQ(outcome.value("why_no_id_range"), "there is no sandbox, and this is not root");
}

TEST_F(Sandboxed, KeepsTheHostsCgroupsInSight) {
  if (!fs::exists("/sys/fs/cgroup") || fs::is_empty("/sys/fs/cgroup"))
    GTEST_SKIP() << "the host has none";
  EXPECT_EQ(run_probe({"auto", "info"}).value("cgroup"), "1");
}

TEST_F(Sandboxed, NestsInItself) {
  auto outcome = run_probe({"require", "nested"});
  EXPECT_EQ(outcome.value("level"), level(SandboxLevel::full)) << outcome.output;
}

TEST_F(Sandboxed, ExitCodesComeThrough) {
  for (int code : {0, 1, 69, 77, 255})
    EXPECT_EQ(run_probe({"auto", "exit", std::to_string(code)}).status, W_EXITCODE(code, 0));
}

TEST_F(Sandboxed, SignalsThatKillComeThrough) {
  for (int number : {SIGTERM, SIGSEGV, SIGABRT, SIGKILL, SIGHUP})
    EXPECT_EQ(run_probe({"auto", "die", std::to_string(number)}).status & 0x7f, number);
}

TEST_F(Sandboxed, SignalsForTheOuterProcessReachTheTests) {
  Probe probe({"auto", "signals"});
  ASSERT_EQ(probe.line(), "ready");
  for (int number : {SIGUSR1, SIGHUP, SIGINT, SIGQUIT, SIGUSR2}) {
    ::kill(probe.pid(), number);
    EXPECT_EQ(probe.line(), "signal " + std::to_string(number));
  }
  ::kill(probe.pid(), SIGTERM);
  EXPECT_EQ(probe.line(), "signal " + std::to_string(SIGTERM));
  EXPECT_EQ(probe.wait(), W_EXITCODE(9, 0));
}

TEST_F(Sandboxed, ASignalThatTheTestsDoNotHandleEndsBothAlike) {
  Probe probe({"auto", "wait"});
  ASSERT_EQ(probe.line(), "ready");
  ::kill(probe.pid(), SIGTERM);
  EXPECT_EQ(probe.wait(), SIGTERM);
}

TEST_F(Sandboxed, AnIgnoredChildSignalLosesNoExitCode) {
  auto ignore = [] { ::signal(SIGCHLD, SIG_IGN); };
  EXPECT_EQ(run_probe({"auto", "exit", "5"}, {.before_exec = ignore}).status, W_EXITCODE(5, 0));
}

TEST_F(Sandboxed, OrphansGoToTheReaper) {
  auto outcome = run_probe({"auto", "orphan"});
  EXPECT_THAT(outcome.value("orphan"), ::testing::EndsWith(" 1"));
  EXPECT_THAT(outcome.output, ::testing::EndsWith("\nreaped\n"));
}

TEST_F(Sandboxed, ThoseOutsideHoldNoDescriptorsOfTheTests) {
  // Stands for any inherited pipe: whoever keeps it open would hang its reader.
  auto [out, in] = base::make_pipe();
  int inherited = in.get();
  auto inherit = [inherited] { ::fcntl(inherited, F_SETFD, 0); };
  Probe probe({"auto", "wait"}, {.before_exec = inherit});
  ASSERT_EQ(probe.line(), "ready");
  int checked = 0;
  EXPECT_TRUE(eventually([&] {
    checked = 0;
    for (pid_t pid : marked_processes(probe.mark())) {
      auto comm = base::try_read_file("/proc/" + std::to_string(pid) + "/comm").value_or("");
      if (!comm.starts_with("attest-")) continue;
      for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
        std::error_code gone;
        if (fs::read_symlink(entry.path(), gone).string().starts_with("pipe:") &&
            entry.path().filename() != "2")
          return false;
      }
      ++checked;
    }
    return checked == 2;
  })) << checked;
}

TEST(SandboxOff, TakesADirectoryOnly) {
  base::TempDir tmpdir;
  auto outcome = run_probe({"off", "info"}, {.env = {{"TMPDIR", tmpdir.path()}}});
  EXPECT_EQ(outcome.value("level"), level(SandboxLevel::none));
  EXPECT_THAT(outcome.value("dir"), StartsWith(tmpdir.path().string() + "/attest-"));
  EXPECT_THAT(outcome.value("sentence"), HasSubstr("switched off"));
  EXPECT_TRUE(fs::is_empty(tmpdir.path()));
}

TEST(SandboxOff, SweepsWhatAKilledRunLeft) {
  base::TempDir tmpdir;
  ProbeOptions options{.env = {{"TMPDIR", tmpdir.path()}}};
  {
    Probe probe({"off", "wait"}, options);
    ASSERT_EQ(probe.line(), "ready");
    EXPECT_FALSE(fs::is_empty(tmpdir.path()));
  }  // kills it
  EXPECT_FALSE(fs::is_empty(tmpdir.path()));
  run_probe({"auto", "exit", "0"}, options);
  EXPECT_TRUE(fs::is_empty(tmpdir.path()));
}

TEST(SandboxRefused, BySeccompAutomaticTakesNone) {
  for (unsigned which : {all_namespaces, static_cast<unsigned>(CLONE_NEWNET)}) {
    auto outcome = run_probe({"auto", "info"}, {.before_exec = refuse_namespaces(which)});
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.value("level"), level(SandboxLevel::none)) << outcome.output;
    EXPECT_THAT(outcome.value("sentence"),
                AllOf(HasSubstr("seccomp filter"), HasSubstr("seccomp=unconfined"),
                      HasSubstr("cannot run")));
  }
}

TEST(SandboxRefused, IsNoLossWithoutNetwork) {
  auto outcome = run_probe({"auto_without_network", "info"},
                           {.before_exec = refuse_namespaces(all_namespaces)});
  EXPECT_EQ(outcome.value("level"), level(SandboxLevel::none)) << outcome.output;
  EXPECT_THAT(outcome.value("sentence"), Not(HasSubstr("cannot run")));
}

TEST(SandboxRefused, BySeccompRequireThrows) {
  auto outcome = run_probe({"require", "info"}, {.before_exec = refuse_namespaces(all_namespaces)});
  EXPECT_EQ(outcome.status, W_EXITCODE(3, 0));
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("error: the full sandbox cannot be entered"),
                                    HasSubstr("hint: "), HasSubstr("seccomp=unconfined")));
}

TEST(SandboxRefused, OffAsksForNothing) {
  EXPECT_EQ(
      run_probe({"off", "exit", "0"}, {.before_exec = refuse_namespaces(all_namespaces)}).status,
      0);
}

TEST_F(Sandboxed, WithoutPidNamespacesTakesTheRest) {
  auto outcome = run_probe({"auto", "info"}, {.before_exec = refuse_namespaces(CLONE_NEWPID)});
  EXPECT_EQ(outcome.value("level"), level(SandboxLevel::no_pid_namespace)) << outcome.output;
  EXPECT_EQ(outcome.value("interfaces"), "lo ");
  EXPECT_EQ(outcome.value("lo"), "up");
  EXPECT_LT(outcome.value("dir").size(), 20u);
  EXPECT_THAT(outcome.value("sentence"), HasSubstr("seccomp filter"));
}

TEST_F(AsUser, WithoutPidNamespacesTakesTheRest) {
  auto outcome = run_probe({"auto", "info"}, {.before_exec = [] {
                             become_nobody();
                             refuse_namespaces(CLONE_NEWPID)();
                           }});
  EXPECT_EQ(outcome.value("level"), level(SandboxLevel::no_pid_namespace)) << outcome.output;
  EXPECT_EQ(outcome.value("interfaces"), "lo ");
}

// What a container runtime does: mounts below /proc, and no second /proc in sight.
void mask_proc() {
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    ::_exit(126);
  for (const auto& line : base::split(base::read_file("/proc/self/mountinfo"), '\n')) {
    auto point = line.find(" - proc ") == line.npos ? "/proc" : base::split(line, ' ').at(4);
    if (point != "/proc") ::umount2(point.c_str(), MNT_DETACH);
  }
  if (::mount("masked", "/proc/bus", "tmpfs", MS_RDONLY, nullptr) != 0) ::_exit(126);
}

TEST_F(AsUser, UnderAMaskedProcTakesTheRest) {
  auto masked = [] {
    mask_proc();
    become_nobody();
  };
  auto outcome = run_probe({"auto", "info"}, {.before_exec = masked});
  EXPECT_EQ(outcome.value("level"), level(SandboxLevel::no_pid_namespace)) << outcome.output;
  EXPECT_EQ(outcome.value("interfaces"), "lo ");
  EXPECT_THAT(outcome.value("sentence"),
              AllOf(HasSubstr("/proc is masked"), HasSubstr("systempaths=unconfined")));
  EXPECT_EQ(run_probe({"require", "info"}, {.before_exec = masked}).status, W_EXITCODE(3, 0));
}

// The quotas belong to a user namespace, so a full one can be had without touching the host.
TEST_F(Sandboxed, NamesAFullQuota) {
  auto outcome = run_probe({"require", "info"}, {.before_exec = [] {
                             if (::unshare(CLONE_NEWUSER) != 0) ::_exit(126);
                             base::write_once("/proc/self/setgroups", "deny");
                             base::write_once("/proc/self/gid_map", "0 0 1");
                             base::write_once("/proc/self/uid_map", "0 0 1");
                             base::write_once("/proc/sys/user/max_net_namespaces", "0");
                           }});
  if (outcome.status == W_EXITCODE(126, 0)) GTEST_SKIP() << "no user namespaces here";
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("user.max_net_namespaces is 0"),
                                    HasSubstr("sysctl -w user.max_net_namespaces=10000")));
}

TEST(SandboxTmpdir, MayBeLongAndStrange) {
  base::TempDir parent;
  auto strange = parent.path() / ("it's a \"long\" one " + std::string(90, 'x'));
  fs::create_directory(strange);
  for (const char* mode : {"auto", "off"}) {
    auto outcome = run_probe({mode, "info"}, {.env = {{"TMPDIR", strange}}});
    EXPECT_EQ(outcome.status, 0) << outcome.output;
    EXPECT_LT(outcome.value("dir").size(), 40u);
  }
  EXPECT_TRUE(fs::is_empty(strange));
}

// In a sanitized build the leak check cannot run under a tracer.
const std::map<std::string, std::string> no_leak_check{{"ASAN_OPTIONS", "detect_leaks=0"}};

// Lets the traced probe run to its end as a debugger would, and returns its wait status.
int trace_to_end(pid_t pid) {
  for (int status = 0;;) {
    if (::waitpid(pid, &status, 0) != pid) return -1;
    if (!WIFSTOPPED(status)) return status;
    int number = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
    ::ptrace(PTRACE_CONT, pid, nullptr, reinterpret_cast<void*>(static_cast<long>(number)));
  }
}

TEST_F(Sandboxed, ATracedProcessKeepsItsPid) {
  auto traced = [] { ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); };
  Probe probe({"auto", "info"}, {.env = no_leak_check, .before_exec = traced});
  EXPECT_EQ(trace_to_end(probe.pid()), 0);
  Outcome outcome{probe.rest()};
  EXPECT_EQ(outcome.value("level"), level(SandboxLevel::no_pid_namespace)) << outcome.output;
  EXPECT_EQ(outcome.value("pid"), std::to_string(probe.pid()));
  EXPECT_EQ(outcome.value("interfaces"), "lo ");
  EXPECT_THAT(outcome.value("sentence"),
              HasSubstr("a debugger is attached (pid " + std::to_string(::getpid()) + ")"));
}

TEST_F(Sandboxed, ATracedProcessCannotRequireTheFullOne) {
  auto traced = [] { ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); };
  Probe probe({"require", "info"}, {.env = no_leak_check, .before_exec = traced});
  EXPECT_EQ(trace_to_end(probe.pid()), W_EXITCODE(3, 0));
  EXPECT_THAT(probe.rest(), HasSubstr("a debugger is attached"));
}

TEST_F(Sandboxed, ABreakpointAfterItIsHit) {
  if (::access("/usr/bin/gdb", X_OK) != 0) GTEST_SKIP() << "gdb is not installed";
  std::string command =
      std::string(
          "ASAN_OPTIONS=detect_leaks=0 gdb -nx -batch -ex 'break probe_entered' -ex run -ex bt ") +
      "-ex continue --args '" SANDBOX_PROBE "' auto info 2>&1 </dev/null";
  std::string output;
  FILE* gdb = ::popen(command.c_str(), "r");
  ASSERT_NE(gdb, nullptr);
  char buffer[4096];
  while (std::size_t n = std::fread(buffer, 1, sizeof buffer, gdb)) output.append(buffer, n);
  ::pclose(gdb);
  EXPECT_THAT(output, AllOf(HasSubstr("Breakpoint 1, "), HasSubstr("in main"),
                            HasSubstr("\nlevel=" + level(SandboxLevel::no_pid_namespace)),
                            HasSubstr("exited normally")));
}

}  // namespace
}  // namespace attest::sandbox
