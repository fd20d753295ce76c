#include "lib/sandbox/work_dir.h"

#include "attest/error.h"
#include "lib/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace attest::sandbox {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

std::size_t entries(const fs::path& dir) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(dir), {}));
}

// A locked directory in `parent` whose owner was killed.
fs::path abandoned(const fs::path& parent) {
  pid_t child = ::fork();
  if (child == 0) {
    LockedDir dir({parent});
    ::raise(SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  return *fs::directory_iterator(parent);
}

TEST(TmpfsPlaces, AreShortAndExist) {
  for (const auto& place : tmpfs_places()) {
    EXPECT_LT(place.size(), 20u);
    EXPECT_TRUE(fs::is_directory(place)) << place;
  }
}

TEST(LockedDirParents, PreferAShortTmpdir) {
  EXPECT_THAT(locked_dir_parents("/run/tmp"), ElementsAre("/run/tmp", "/tmp", "/var/tmp"));
  EXPECT_THAT(locked_dir_parents(""), ElementsAre("/tmp", "/var/tmp"));
  EXPECT_THAT(locked_dir_parents("/tmp"), ElementsAre("/tmp", "/var/tmp"));
  EXPECT_THAT(locked_dir_parents("relative"), ElementsAre("/tmp", "/var/tmp"));
}

TEST(LockedDirParents, TakeALongTmpdirLast) {
  std::string longer = "/" + std::string(90, 'x');
  EXPECT_THAT(locked_dir_parents(longer), ElementsAre("/tmp", "/var/tmp", longer));
}

TEST(LockedDir, IsPrivateAndGoesWithItsOwner) {
  base::TempDir parent;
  {
    LockedDir dir({parent.path()});
    struct stat info{};
    ASSERT_EQ(::stat(dir.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0700u);
    EXPECT_THAT(dir.path().filename().string(), ::testing::MatchesRegex("attest-......"));
    base::write_file(dir.path() / "file", "x");
  }
  EXPECT_EQ(entries(parent.path()), 0u);
}

TEST(LockedDir, TakesTheFirstParentThatWorks) {
  base::TempDir parent;
  LockedDir dir({"/nowhere/at/all", parent.path()});
  EXPECT_EQ(dir.path().parent_path(), parent.path());
}

TEST(LockedDir, NamesAllParentsWhenNoneWorks) {
  try {
    LockedDir dir({"/nowhere", "/not/here"});
    FAIL() << "made " << dir.path();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Error::Kind::host);
    EXPECT_THAT(e.what(), ::testing::HasSubstr("'/nowhere', '/not/here'"));
  }
}

TEST(LockedDir, IsNotRemovedByAForkedChild) {
  base::TempDir parent;
  auto dir = std::make_unique<LockedDir>(std::vector<std::string>{parent.path()});
  pid_t child = ::fork();
  if (child == 0) {
    dir.reset();
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(fs::exists(dir->path()));
}

TEST(Sweep, RemovesWhatADeadProcessLeft) {
  base::TempDir parent;
  fs::path dir = abandoned(parent.path());
  base::write_file(dir / "file", "x");
  sweep_locked_dirs({"/nowhere", parent.path()});
  EXPECT_EQ(entries(parent.path()), 0u);
}

TEST(Sweep, LeavesWhatIsInUse) {
  base::TempDir parent;
  LockedDir dir({parent.path()});
  sweep_locked_dirs({parent.path()});
  EXPECT_TRUE(fs::exists(dir.path()));
}

TEST(Sweep, LeavesWhatIsNotOurs) {
  base::TempDir parent;
  fs::create_directory(parent.path() / "attest-abcdef");  // no lock file
  fs::create_directory(parent.path() / "other");
  base::write_file(parent.path() / "other" / "lock", "");  // another name
  base::write_file(parent.path() / "attest-file", "");     // no directory
  fs::create_directory(parent.path() / "other" / "more");
  fs::path target = abandoned(parent.path() / "other" / "more");  // reached through a link
  fs::create_directory_symlink(target, parent.path() / "attest-link00");
  fs::create_directory(parent.path() / "attest-new-abcdef");  // young, maybe in the making
  sweep_locked_dirs({parent.path()});
  EXPECT_EQ(entries(parent.path()), 5u);
  EXPECT_TRUE(fs::exists(target));
}

TEST(Sweep, LeavesAnotherUsersDirectory) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a directory away";
  base::TempDir parent;
  fs::path dir = abandoned(parent.path());
  ASSERT_EQ(::chown(dir.c_str(), 65534, 65534), 0);
  sweep_locked_dirs({parent.path()});
  EXPECT_TRUE(fs::exists(dir));
}

TEST(Sweep, RemovesWhatWasNeverFinished) {
  base::TempDir parent;
  fs::path dir = parent.path() / "attest-new-abcdef";
  fs::create_directory(dir);
  timeval old[2]{{1, 0}, {1, 0}};
  ASSERT_EQ(::utimes(dir.c_str(), old), 0);
  sweep_locked_dirs({parent.path()});
  EXPECT_FALSE(fs::exists(dir));
}

}  // namespace
}  // namespace attest::sandbox
