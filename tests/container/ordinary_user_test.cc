// The quickstart's binary on containers as ordinary users: one who has no range of ids, and one who
// has a range, without and with a cgroup that is his own. Only root can become these users.
#include "backends/image/image.h"
#include "backends/nspawn/cgroup.h"
#include "lib/base/file.h"
#include "lib/base/text.h"
#include "run_program.h"

#include <gmock/gmock.h>

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>

namespace {
namespace fs = std::filesystem;
using attest::fakes::ProgramRun;
using testing::AllOf;
using testing::HasSubstr;

constexpr unsigned nobody = 65534;
constexpr int skipped = 77;

// The first whom /etc/subuid names and who has an account.
std::optional<passwd> user_with_range() {
  auto table = attest::base::try_read_file("/etc/subuid").value_or("");
  for (auto& line : attest::base::split(table, '\n')) {
    auto parts = attest::base::split(line, ':');
    if (parts.size() != 3 || std::atoi(std::string(parts[2]).c_str()) < 65536) continue;
    const passwd* entry = ::getpwnam(std::string(parts[0]).c_str());
    if (entry != nullptr && entry->pw_uid != 0) return *entry;
  }
  return std::nullopt;
}

class OrdinaryUser : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can run a program as other users";
    ::chmod(dir.path().c_str(), 0755);
    fs::copy_file(std::getenv("ATTEST_EXAMPLE"), dir.path() / "two_machines");
    attest::base::write_file(dir.path() / "config.json",
                             attest::base::read_file(std::getenv("ATTEST_EXAMPLE_CONFIG")));
    fs::create_directory(home);
  }

  // In the cgroup `cgroup`, if one is given.
  ProgramRun run_as(unsigned uid, unsigned gid, const fs::path& cgroup = {},
                    std::map<std::string, std::string> more = {}) {
    EXPECT_EQ(::chown(home.c_str(), uid, gid), 0);
    std::map<std::string, std::string> env{{"HOME", home.string()},
                                           {"XDG_CACHE_HOME", ""},
                                           {"TMPDIR", home.string()},
                                           {"ATTEST_REQUIRE", ""}};
    more.merge(env);  // what is given wins
    std::vector<std::string> argv;
    if (!cgroup.empty())
      argv = {"sh", "-c", R"(echo $$ >"$0" && exec "$@")", (cgroup / "cgroup.procs").string()};
    for (auto& word : {std::string("setpriv"), "--reuid=" + std::to_string(uid),
                       "--regid=" + std::to_string(gid), std::string("--clear-groups"),
                       (dir.path() / "two_machines").string(),
                       "--attest_config=" + (dir.path() / "config.json").string(),
                       std::string("--attest_backend=nspawn")})
      argv.push_back(word);
    return attest::fakes::run_program(argv, more, std::chrono::seconds(60));
  }

  attest::base::TempDir dir{"attest-user-"};
  fs::path home = dir.path() / "home";
};

TEST_F(OrdinaryUser, WithoutARangeOfIdsSkipsAndIsToldTheCommand) {
  auto run = run_as(nobody, nobody);
  EXPECT_EQ(run.exit_code, skipped) << run.output;
  EXPECT_THAT(run.output,
              testing::AnyOf(HasSubstr("usermod --add-subuids 100000-165535"),
                             HasSubstr("package uidmap"), HasSubstr("systemd-container")));
}

TEST_F(OrdinaryUser, FailsInsteadIfContainersAreRequired) {
  std::map<std::string, std::string> require{{"ATTEST_REQUIRE", "nspawn"}};
  auto run = run_as(nobody, nobody, {}, require);
  EXPECT_EQ(run.exit_code, 1) << run.output;
  EXPECT_THAT(run.output, HasSubstr("checking for what ATTEST_REQUIRE names: nspawn"));
}

TEST_F(OrdinaryUser, WithARangeButNoCgroupSkipsAndIsToldTheCommand) {
  auto user = user_with_range();
  if (!user) GTEST_SKIP() << "no user of this host has a range of 65536 ids in /etc/subuid";
  auto run = run_as(user->pw_uid, user->pw_gid);
  EXPECT_EQ(run.exit_code, skipped) << run.output;
  EXPECT_THAT(run.output, AllOf(HasSubstr("making the cgroup"),
                                HasSubstr("systemd-run --user --scope -p Delegate=yes")));
}

// A tree that root has built is nobody's in the user's namespace, and its services fail: the image
// has to be one that the user has built, as named by ATTEST_USER_CACHE.
TEST_F(OrdinaryUser, WithARangeAndACgroupBootsTwoMachinesThatFindEachOther) {
  auto user = user_with_range();
  if (!user) GTEST_SKIP() << "no user of this host has a range of 65536 ids in /etc/subuid";
  const char* cache = std::getenv("ATTEST_USER_CACHE");
  if (cache == nullptr)
    GTEST_SKIP() << "ATTEST_USER_CACHE names no directory with an image that '" << user->pw_name
                 << "' has built (as that user: ATTEST_CACHE=DIRECTORY sh guest/debian/build.sh)";
  auto parent = attest::nspawn::own_cgroup();
  if (!parent) GTEST_SKIP() << "this process is in no cgroup v2";
  attest::nspawn::Cgroup delegated(*parent / "attest-test-delegated");
  // The program is in a leaf of its own; its containers are made below that.
  fs::path inner = delegated.path() / "in";
  fs::create_directory(inner);
  for (auto& directory : {delegated.path(), inner}) {
    ASSERT_EQ(::chown(directory.c_str(), user->pw_uid, user->pw_gid), 0);
    for (const char* file : {"cgroup.procs", "cgroup.subtree_control", "cgroup.threads"})
      ASSERT_EQ(::chown((directory / file).c_str(), user->pw_uid, user->pw_gid), 0) << file;
  }
  auto run = run_as(user->pw_uid, user->pw_gid, inner, {{"ATTEST_CACHE", cache}});
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("[  PASSED  ] 1 test"));
  for (auto& entry : fs::directory_iterator(inner))
    EXPECT_FALSE(entry.is_directory()) << "left behind: " << entry.path();
}

}  // namespace
