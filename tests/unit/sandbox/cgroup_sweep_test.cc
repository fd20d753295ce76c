// Cgroups that go away whoever is killed. They are made below the tests' own cgroup.
#include "lib/sandbox/cgroup_sweep.h"

#include "attest/error.h"
#include "lib/base/file.h"
#include "lib/base/text.h"
#include "lib/sandbox/doorman.h"
#include "tests/unit/sandbox/places.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

namespace attest::sandbox {
namespace {

namespace fs = std::filesystem;
using base::Fd;
using ::testing::HasSubstr;

// Our own cgroup in the cgroup2 mount; "" without one.
fs::path own_cgroup() {
  fs::path mount;
  for (const auto& line : base::split(base::read_file("/proc/self/mountinfo"), '\n'))
    if (line.find(" - cgroup2 ") != line.npos) mount = base::split(line, ' ').at(4);
  for (const auto& line : base::split(base::read_file("/proc/self/cgroup"), '\n'))
    if (!mount.empty() && line.starts_with("0::/")) return mount / line.substr(4);
  return {};
}

/// A cgroup with one below it, and a process in each that ignores what can be ignored.
class CgroupSweep : public ::testing::Test {
 protected:
  void SetUp() override {
    auto own = own_cgroup();
    if (own.empty()) GTEST_SKIP() << "there is no cgroup2 mount here";
    directory_ = own / ("attest-test-" + base::random_hex(4));
    std::error_code failure;
    fs::create_directories(directory_ / "below one" / "deep", failure);
    if (failure) GTEST_SKIP() << "no cgroup can be made here: " << failure.message();
    sleepers_ = {start_in(directory_), start_in(directory_ / "below one" / "deep")};
  }
  void TearDown() override {
    for (pid_t pid : sleepers_) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    for (const auto& path :
         {directory_ / "below one" / "deep", directory_ / "below one", directory_})
      if (!directory_.empty()) ::rmdir(path.c_str());
  }

  static pid_t start_in(const fs::path& directory) {
    pid_t pid = ::fork();
    if (pid == 0) {
      ::setsid();
      ::signal(SIGTERM, SIG_IGN);
      for (;;) ::pause();
    }
    base::write_once(directory / "cgroup.procs", std::to_string(pid));
    return pid;
  }
  bool swept() {
    return eventually([&] { return !fs::exists(directory_); });
  }
  std::string refusal(const std::string& directory) {
    try {
      Doorman().sweep_cgroup(directory);
      return "not refused";
    } catch (const Error& e) {
      return e.what();
    }
  }

  fs::path directory_;
  std::vector<pid_t> sleepers_;
};

TEST_F(CgroupSweep, MakesOneThatIsNotThereYetSoThatNoMomentIsWithoutASweeper) {
  auto made = directory_ / "attest-made";
  Fd socket = Doorman().sweep_cgroup(made);
  EXPECT_TRUE(fs::is_directory(made));
  socket.reset();
  EXPECT_TRUE(eventually([&] { return !fs::exists(made); }));
  EXPECT_TRUE(fs::exists(directory_)) << "only that one goes";
  EXPECT_THAT(refusal("/tmp/attest-no-cgroup"), HasSubstr("not be a directory of cgroup2"));
  EXPECT_FALSE(fs::exists("/tmp/attest-no-cgroup"));
}

TEST_F(CgroupSweep, WaitsForTheSocketAndLeavesNothing) {
  Fd socket = Doorman().sweep_cgroup(directory_);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), 0);  // the sleepers are our only children, and live
  EXPECT_TRUE(fs::exists(directory_));
  socket.reset();
  EXPECT_TRUE(swept());
  for (pid_t pid : sleepers_) {
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, SIGKILL);
  }
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  sleepers_.clear();
}

TEST_F(CgroupSweep, EndsWhenThereIsNothingToSweep) {
  Fd socket = Doorman().sweep_cgroup(directory_);
  TearDown();
  sleepers_.clear();
  socket.reset();
  EXPECT_FALSE(fs::exists(directory_));
}

TEST_F(CgroupSweep, RefusesWhatIsNoCgroupOfOthers) {
  EXPECT_THAT(refusal("relative"), HasSubstr("'relative' swept: the path is not absolute"));
  EXPECT_THAT(refusal("/no/such/attest-x"), HasSubstr("No such file or directory"));
  for (std::string other : {std::string("/tmp"), own_cgroup().string(),
                            (directory_ / "cgroup.procs").string(), (directory_ / "..").string()})
    EXPECT_THAT(refusal(other), HasSubstr("only one whose name begins with 'attest-'")) << other;
}

TEST_F(CgroupSweep, RefusesOneThatTheDoormanIsBelow) {
  pid_t child = ::fork();
  if (child == 0) {
    base::write_once(directory_ / "below one" / "deep" / "cgroup.procs",
                     std::to_string(::getpid()));
    std::string why = refusal(directory_);
    ::_exit(why.ends_with("swept: the process outside the sandbox is in it") ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(fs::exists(directory_));
}

struct SweepCase {
  const char* name;
  const char* victim;  // a process's name; "": the outermost
};
class CgroupSweepAfter : public CgroupSweep,
                         public ::testing::WithParamInterface<std::tuple<Place, SweepCase>> {};

pid_t find_named(const Probe& probe, const std::string& name) {
  for (pid_t pid : marked_processes(probe.mark()))
    if (base::try_read_file("/proc/" + std::to_string(pid) + "/comm") == name + "\n") return pid;
  return 0;
}

TEST_P(CgroupSweepAfter, KillNine) {
  const auto& [place, row] = GetParam();
  Probe probe({place.mode, "sweep", directory_.string()}, {.before_exec = place.before_exec});
  ASSERT_EQ(probe.line(), "ready");
  // Until it is a shell, the sweeper has the name of the doorman, or ours.
  ASSERT_TRUE(eventually([&] { return find_named(probe, "sh") != 0; }));
  pid_t victim = *row.victim ? find_named(probe, row.victim) : probe.pid();
  if (victim == 0) GTEST_SKIP() << "there is no such process at this level";
  ASSERT_TRUE(fs::exists(directory_));
  ASSERT_EQ(::kill(victim, SIGKILL), 0);
  if (place.name == std::string("no_pid_namespace") && row.victim == std::string("attest-doorman"))
    ::kill(probe.pid(), SIGKILL);  // the tests live on without it
  EXPECT_EQ(probe.wait(), SIGKILL);
  EXPECT_TRUE(swept());
  EXPECT_TRUE(eventually([&] { return marked_processes(probe.mark()).empty(); }));
}

INSTANTIATE_TEST_SUITE_P(
    , CgroupSweepAfter,
    ::testing::Combine(::testing::ValuesIn(every_place()),
                       ::testing::Values(SweepCase{"outermost", ""},
                                         SweepCase{"tests", "sandbox_probe"},
                                         SweepCase{"doorman", "attest-doorman"})),
    [](const auto& row) {
      return std::string(std::get<0>(row.param).name) + "_" + std::get<1>(row.param).name;
    });

}  // namespace
}  // namespace attest::sandbox
