#include "lib/sandbox/id_range.h"

#include "lib/base/file.h"
#include "lib/base/text.h"
#include "tests/unit/sandbox/probe_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <grp.h>
#include <csignal>
#include <filesystem>
#include <functional>

namespace attest::sandbox {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

struct RangeCase {
  const char* name;
  const char* text;
  std::optional<unsigned> start;
};
class SubordinateIds : public ::testing::TestWithParam<RangeCase> {};

TEST_P(SubordinateIds, AreFoundOrNot) {
  EXPECT_EQ(find_range(GetParam().text, "ann", 1001), GetParam().start);
}

INSTANTIATE_TEST_SUITE_P(
    , SubordinateIds,
    ::testing::Values(RangeCase{"by_name", "bob:1:65536\nann:100000:65536\n", 100000},
                      RangeCase{"by_number", "1001:200000:70000\n", 200000},
                      RangeCase{"the_first_that_is_large_enough",
                                "ann:100000:1000\nann:300000:65536\nann:400000:65536", 300000},
                      RangeCase{"one_too_few", "ann:100000:65535\n", std::nullopt},
                      RangeCase{"of_somebody_else", "anna:100000:65536\n", std::nullopt},
                      RangeCase{"nothing", "", std::nullopt},
                      RangeCase{"malformed", "ann\nann:\nann:x:65536\nann:1:65536:2\nann::65536\n",
                                std::nullopt},
                      RangeCase{"too_large_for_an_id", "ann:99999999999:65536\n", std::nullopt}),
    [](const auto& row) { return row.param.name; });

TEST(IdMaps, CoverARangeOrNot) {
  EXPECT_TRUE(covers_range("         0          0 4294967295\n"));
  EXPECT_TRUE(covers_range("         0       1001          1\n         1     100000      65535\n"));
  EXPECT_FALSE(covers_range("         0       1001          1\n"));
  EXPECT_FALSE(covers_range(""));
}

// The first user of this host to whom a range of ids belongs.
class AsUserWithRange : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
    if (auto tried = run_probe({"require", "info"}, {.before_exec = become_nobody});
        tried.status != 0)
      GTEST_SKIP() << "this host gives ordinary users no sandbox: " << tried.output;
    for (const auto& line : base::split(base::try_read_file("/etc/subuid").value_or(""), '\n')) {
      const passwd* entry = ::getpwnam(line.substr(0, line.find(':')).c_str());
      if (!entry || entry->pw_uid == 0 || !look_for_range(entry->pw_uid).why_not.empty()) continue;
      uid_ = entry->pw_uid;
      gid_ = entry->pw_gid;
      return;
    }
    GTEST_SKIP() << "no user of this host has a range of ids, or newuidmap is missing";
  }
  std::function<void()> become() const {
    return [uid = uid_, gid = gid_] {
      if (::setgroups(0, nullptr) || ::setresgid(gid, gid, gid) || ::setresuid(uid, uid, uid))
        ::_exit(126);
    };
  }
  uid_t uid_ = 0;
  gid_t gid_ = 0;
};

TEST_F(AsUserWithRange, MapsIt) {
  auto outcome = run_probe({"require", "info"}, {.before_exec = become()});
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_EQ(outcome.value("uid"), "0");
  EXPECT_EQ(outcome.value("interfaces"), "lo ");
  EXPECT_EQ(outcome.value("id_range"), "1") << outcome.output;
  EXPECT_EQ(outcome.value("why_no_id_range"), "");
  EXPECT_EQ(outcome.value("chown"), "1");
  if (fs::exists("/sys/fs/cgroup") && !fs::is_empty("/sys/fs/cgroup")) {
    EXPECT_EQ(outcome.value("cgroup"), "1");
  }
}

TEST_F(AsUserWithRange, StillOwnsTheUsersFiles) {
  base::TempDir dir;
  fs::permissions(dir.path(), fs::perms(0755));
  std::string file = dir.path() / "file";
  base::write_file(file, "");
  fs::permissions(file, fs::perms(0600));
  ASSERT_EQ(::chown(file.c_str(), uid_, gid_), 0);
  EXPECT_EQ(run_probe({"require", "write", file}, {.before_exec = become()}).output, "written\n");
  EXPECT_EQ(base::read_file(file), "inside");
}

// Under no_new_privs setuid programs have no power.
TEST_F(AsUserWithRange, TakesOneIdWhereTheProgramsFail) {
  auto outcome = run_probe({"require", "info"}, {.before_exec = [become = become()] {
                             become();
                             ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                           }});
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_EQ(outcome.value("uid"), "0");
  EXPECT_EQ(outcome.value("interfaces"), "lo ");
  EXPECT_EQ(outcome.value("id_range"), "0");
  EXPECT_THAT(outcome.value("why_no_id_range"), HasSubstr("newuidmap did not map the range of '"));
}

TEST_F(AsUserWithRange, LeavesNothingWhenKilled) {
  Probe probe({"require", "wait"}, {.before_exec = become()});
  ASSERT_EQ(probe.line(), "ready");
  ::kill(probe.pid(), SIGKILL);
  EXPECT_EQ(probe.wait(), SIGKILL);
  EXPECT_TRUE(eventually([&] { return marked_processes(probe.mark()).empty(); }));
}

}  // namespace
}  // namespace attest::sandbox
