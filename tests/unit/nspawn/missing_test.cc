// What a host lacks, in words: facts are injected. And the text formats behind the facts.
#include "backends/nspawn/missing.h"

#include "backends/nspawn/cgroup.h"
#include "backends/nspawn/ending.h"
#include "backends/nspawn/enter.h"
#include "backends/nspawn/upper.h"

#include "attest/error.h"
#include "lib/base/file.h"

#include <gmock/gmock.h>

#include <sys/stat.h>

namespace attest::nspawn {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
namespace fs = std::filesystem;

struct Lack {
  const char* name;
  NspawnHost host;
  bool program;
  HostProbe probe;
  const char* network;
  std::vector<std::string> words;  ///< none: nothing is missing
};
class NspawnMissing : public testing::TestWithParam<Lack> {};

TEST_P(NspawnMissing, NamesTheLackAndTheRemedy) {
  auto& row = GetParam();
  MachineConfig config;
  config.network = row.network;
  auto missing = judge(row.host, row.program, row.probe, config);
  ASSERT_EQ(missing.has_value(), !row.words.empty());
  for (auto& word : row.words) EXPECT_THAT(missing->text, HasSubstr(word));
  EXPECT_EQ(missing ? missing->capability : "nspawn", "nspawn");
}

const NspawnHost good{.own_network = true, .id_range = true, .why_no_id_range = {}};

INSTANTIATE_TEST_SUITE_P(
    , NspawnMissing,
    testing::Values(
        Lack{"nothing", good, true, {}, "", {}},
        Lack{"program", good, false, {}, "", {"'systemd-nspawn'", "systemd-container"}},
        Lack{"ids", {true, false, ""}, true, {}, "", {"65536", "uidmap", "usermod"}},
        Lack{"ids_in_their_own_words",
             {true, false, "no range for x"},
             true,
             {},
             "",
             {"no range for x"}},
        Lack{"network", {false, true, ""}, true, {}, "", {"network namespace", "host or none"}},
        Lack{"network_not_asked_for", {false, true, ""}, true, {}, "none", {}},
        Lack{"hosts_network", {false, true, ""}, true, {}, "host", {}},
        Lack{"cgroup",
             good,
             true,
             {.no_cgroup = "no cgroup v2", .no_namespace = {}},
             "",
             {"no cgroup v2", "Delegate=yes", "unified_cgroup_hierarchy"}},
        Lack{"namespaces",
             good,
             true,
             {.no_cgroup = {}, .no_namespace = "mounting failed"},
             "",
             {"mounting failed", "root"}}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(NspawnProbe, LeavesNothingBehind) {
  auto& probe = probe_host();
  if (!probe.no_cgroup.empty()) GTEST_SKIP() << probe.no_cgroup;
  for (auto& entry : fs::directory_iterator(*own_cgroup()))
    EXPECT_THAT(entry.path().filename().string(), Not(testing::EndsWith("-probe")));
}

TEST(NspawnCgroup, IsFoundWhereverTheHierarchyIsMounted) {
  struct {
    const char *mountinfo, *cgroups, *path;
  } rows[] = {
      {"31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "0::/user.slice/x.scope\n",
       "/sys/fs/cgroup/user.slice/x.scope"},
      {"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
       "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw",
       "4:memory:/a\n0::/\n", "/sys/fs/cgroup/unified"},
      {"41 31 0:38 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup rw", "0::/docker/1/sub\n",
       "/sys/fs/cgroup/sub"},
      {"41 31 0:38 / /a\\040b rw - cgroup2 cgroup rw", "0::/c\n", "/a b/c"},
      {"41 31 0:38 /other /sys/fs/cgroup rw - cgroup2 cgroup rw", "0::/docker\n", nullptr},
      {"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu", "1:cpu:/\n", nullptr},
      {"garbage", "0::/\n", nullptr},
  };
  for (auto& row : rows) {
    auto found = own_cgroup(row.mountinfo, row.cgroups);
    EXPECT_EQ(found.value_or("").string(), row.path ? row.path : "") << row.mountinfo;
  }
}

TEST(NspawnNotification, SaysWhenTheMachineIsUp) {
  EXPECT_TRUE(says_ready("READY=1"));
  EXPECT_TRUE(says_ready("STATUS=Startup finished.\nREADY=1\n"));
  EXPECT_FALSE(says_ready("STATUS=Container running.\nX_NSPAWN_LEADER_PID=4"));
  EXPECT_FALSE(says_ready("READY=10\nX_READY=1"));
  EXPECT_FALSE(says_ready(""));
}

TEST(NspawnEnding, IsToldInWords) {
  struct {
    Ending ending;
    bool orderly;
    const char* text;
  } rows[] = {
      {{.status = {}, .started = true, .output = "x"}, true, "the container powered off"},
      {{.status = {.code = 133}, .started = true, .output = ""}, true, "allow_reboot is off"},
      {{.status = {.code = 1}, .started = false, .output = "a\n  no such thing\x1b[1m thing\n"},
       false,
       "systemd-nspawn exited with code 1 before the machine was up: a\n  no such thing"},
      {{.status = {.code = 0, .signal = 9}, .started = true, .output = ""},
       false,
       "systemd-nspawn was killed by signal 9 (Killed)"},
      {{.status = {.code = 255},
        .started = false,
        .output = "Failed to allocate manager object: Too many open files\n",
        .inotify_limit = 128},
       false,
       "fs.inotify.max_user_instances is 128"},
  };
  for (auto& row : rows) {
    auto gone = explain(row.ending);
    EXPECT_EQ(gone.orderly, row.orderly);
    EXPECT_THAT(gone.cause, HasSubstr(row.text));
  }
}

TEST(NspawnEnding, KnowsWhenInotifyIsExhausted) {
  EXPECT_THAT(inotify_advice("Failed to create inotify fd: Too many open files", 128),
              AllOf(HasSubstr("is 128"), HasSubstr("fs.inotify.max_user_instances=1024")));
  EXPECT_THAT(inotify_advice("Failed to allocate manager object: Too many open files", 2000),
              HasSubstr("=4000"));
  EXPECT_THAT(inotify_advice("nginx: Too many open files", 128), IsEmpty());
}

TEST(NspawnEnter, ReadsTheNumbersOfAProcess) {
  EXPECT_THAT(namespace_pids("Name:\tx\nPid:\t77\nNSpid:\t77\t4\t1\nNSpgid:\t9\n"),
              ElementsAre(77, 4, 1));
  EXPECT_THAT(namespace_pids("Name:\tx\n"), IsEmpty());
}

TEST(NspawnUpper, PutsFilesWhereTheTreesLinksLead) {
  base::TempDir dir;
  auto tree = dir.path() / "tree", upper = dir.path() / "upper";
  fs::create_directories(tree / "usr" / "bin");
  fs::create_directories(tree / "root");
  fs::create_directories(upper);
  ::chmod((tree / "root").c_str(), 0700);
  fs::create_symlink("usr/bin", tree / "bin");
  fs::create_symlink("/usr/../bin/.", tree / "sbin");
  fs::create_symlink("loop", tree / "loop");
  fs::create_symlink("elsewhere", tree / "usr" / "bin" / "tool");
  write_seed(tree, upper,
             {{.path = "/sbin/tool", .content = "a", .mode = 0755},
              {.path = "/root/x/y", .content = "b", .mode = 0640}});
  EXPECT_EQ(base::read_file(upper / "usr" / "bin" / "tool"), "a");
  EXPECT_EQ(fs::status(upper / "usr" / "bin" / "tool").permissions(), fs::perms(0755));
  EXPECT_EQ(fs::status(upper / "root").permissions(), fs::perms(0700));
  EXPECT_EQ(fs::status(upper / "root" / "x").permissions(), fs::perms(0755));
  EXPECT_EQ(fs::status(upper / "root" / "x" / "y").permissions(), fs::perms(0640));
  for (const char* wrong : {"relative", "/a/../b", "/a/", "/", "/loop/x"})
    EXPECT_THROW(place_in(tree, wrong), Error) << wrong;
}

}  // namespace
}  // namespace attest::nspawn
