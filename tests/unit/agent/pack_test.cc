// pack and unpack: what one sends, the other makes; and nothing is made outside of the target.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "lib/proto/agent_tree.h"
#include "tests/unit/agent/peer.h"

namespace attest::agent_test {
namespace {

using proto::TreeEntry;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using Type = TreeEntry::Type;
namespace fs = std::filesystem;

std::string entry(Type type, std::string path, std::uint32_t mode = 0755, std::string target = "",
                  std::uint64_t size = 0) {
  return proto::tree_entry({type, std::move(path), mode, size, 1'000'000'000, std::move(target)});
}
std::string file(std::string path, std::string_view content, std::uint32_t mode = 0644) {
  auto record = entry(Type::file, std::move(path), mode, "", content.size());
  if (!content.empty())
    record += proto::tree_data_head(0, static_cast<std::uint32_t>(content.size()));
  return record + std::string(content) + proto::tree_file_end();
}
std::string root() { return entry(Type::directory, ""); }

struct stat stat_of(const std::string& path) {
  struct stat status{};
  lstat(path.c_str(), &status);
  return status;
}

class AgentTrees : public ::testing::Test {
 protected:
  std::string path(std::string_view name) { return (directory_.path() / name).string(); }
  Stream& unpack(const std::string& to, std::string_view tree, bool end = true) {
    auto stream = peer_.open({{"op", "unpack"}, {"path", to}});
    peer_.data(stream, tree);
    if (end) peer_.end(stream);
    return peer_.wait(stream);
  }
  std::string pack(const std::string& from) {
    auto& packed = peer_.call({{"op", "pack"}, {"path", from}});
    EXPECT_TRUE(packed.done) << packed.result("");
    skipped_ = packed.done ? packed.done->all("skipped") : std::vector<std::string>();
    return packed.out();
  }
  // What is unlike in two trees, by the names, types, modes, times and contents.
  std::string differences(const std::string& a, const std::string& b,
                          const std::string& format = "%P %y %m %T@ %l") {
    auto facts = [&](const std::string& at) {
      return "cd " + at + " && find . -printf '" + format + "\\n' | sort";
    };
    auto command = "bash -c \"diff <(" + facts(a) + ") <(" + facts(b) +
                   "); diff -r --no-dereference " + a + " " + b + "\" 2>&1";
    auto* pipe = popen(command.c_str(), "r");
    std::string text;
    char buffer[4096];
    while (auto size = fread(buffer, 1, sizeof buffer, pipe)) text.append(buffer, size);
    pclose(pipe);
    return text;
  }

  base::TempDir directory_{"attest-trees-"};
  Agent agent_;
  Peer peer_ = agent_.connect();
  std::vector<std::string> skipped_;
};

TEST_F(AgentTrees, ComeOutAsTheyWentIn) {
  auto from = path("from");
  fs::create_directories(from + "/bin/deep/er");
  base::write_file(from + "/bin/true", std::string(200'000, 'x') + "\0end");
  chmod((from + "/bin/true").c_str(), 04755);
  base::write_file(from + "/bin/deep/er/\xff name\n", "odd");
  base::write_file(from + "/empty", "");
  symlink("/etc/passwd", (from + "/link").c_str());
  symlink("nowhere", (from + "/bin/dangling").c_str());
  fs::create_directory(from + "/sticky");
  chmod((from + "/sticky").c_str(), 01777);
  fs::create_directory(from + "/readonly");
  base::write_file(from + "/readonly/file", "x");
  chmod((from + "/readonly").c_str(), 0555);
  link((from + "/empty").c_str(), (from + "/hard").c_str());
  timespec times[2] = {{5, 0}, {1234567890, 123456789}};
  utimensat(AT_FDCWD, (from + "/bin/true").c_str(), times, 0);
  utimensat(AT_FDCWD, (from + "/bin").c_str(), times, 0);
  utimensat(AT_FDCWD, (from + "/link").c_str(), times, AT_SYMLINK_NOFOLLOW);
  auto tree = pack(from);
  EXPECT_EQ(unpack(path("to"), tree).result("files"), "13");
  EXPECT_EQ(differences(from, path("to")), "");
  EXPECT_THAT(skipped_, IsEmpty());
  // Once more over itself; directories that were there keep their own times.
  EXPECT_EQ(unpack(path("to"), tree).result("files"), "13");
  EXPECT_EQ(differences(from, path("to"), "%P %y %m %l"), "");
}

TEST_F(AgentTrees, KeepHolesAsHoles) {
  auto from = path("sparse");
  base::Fd fd(open(from.c_str(), O_RDWR | O_CREAT, 0600));
  ASSERT_EQ(pwrite(fd.get(), "head", 4, 0), 4);
  ASSERT_EQ(pwrite(fd.get(), "middle", 6, 500 << 20), 6);
  ASSERT_EQ(ftruncate(fd.get(), std::int64_t{1} << 40), 0);
  auto tree = pack(from);
  EXPECT_LT(tree.size(), 100'000u);
  EXPECT_EQ(unpack(path("to"), tree).result("files"), "1");
  EXPECT_EQ(stat_of(path("to")).st_size, std::int64_t{1} << 40);
  EXPECT_LT(stat_of(path("to")).st_blocks, 1000);
  base::Fd to(open(path("to").c_str(), O_RDONLY));
  char bytes[6];
  ASSERT_EQ(pread(to.get(), bytes, 6, 500 << 20), 6);
  EXPECT_EQ(std::string_view(bytes, 6), "middle");
}

TEST_F(AgentTrees, NameWhatTheyLeaveOut) {
  fs::create_directory(path("from"));
  mkfifo(path("from/fifo").c_str(), 0600);
  mknod(path("from/null").c_str(), S_IFCHR | 0600, makedev(1, 3));
  base::write_file(path("from/file"), "x");
  auto tree = pack(path("from"));
  EXPECT_THAT(skipped_, UnorderedElementsAre("fifo", "null"));
  EXPECT_EQ(unpack(path("to"), tree).result("files"), "2");
}

TEST_F(AgentTrees, FollowTheRootOnly) {
  base::write_file(path("file"), "content");
  symlink("file", path("link").c_str());
  EXPECT_EQ(unpack(path("to"), pack(path("link"))).result("files"), "1");
  EXPECT_EQ(base::read_file(path("to")), "content");
}

TEST_F(AgentTrees, TakeFilesThatSayTheyAreEmpty) {
  unpack(path("version"), pack("/proc/version"));
  EXPECT_EQ(base::read_file(path("version")), base::read_file("/proc/version"));
}

TEST_F(AgentTrees, OfManySmallFilesArePackedInTurns) {
  fs::create_directory(path("from"));
  for (int i = 0; i < 5000; ++i)
    base::write_file(path("from/" + std::to_string(i)), std::to_string(i));
  auto stream = peer_.open({{"op", "pack"}, {"path", path("from")}});
  peer_.settle();
  EXPECT_FALSE(peer_[stream].over()) << "a ping was not answered before all was packed";
  auto& packed = peer_.wait(stream);
  EXPECT_EQ(packed.result("files"), "5001");
  EXPECT_EQ(unpack(path("to"), packed.out()).result("files"), "5001");
  EXPECT_EQ(differences(path("from"), path("to")), "");
}

TEST_F(AgentTrees, ReplaceFilesAndMergeDirectories) {
  fs::create_directories(path("to/dir"));
  base::write_file(path("to/dir/mine"), "kept");
  base::write_file(path("to/file"), "old");
  symlink("file", path("to/link").c_str());
  chmod(path("to/dir").c_str(), 01777);
  auto tree = root() + entry(Type::directory, "dir") + file("dir/new", "n") + file("file", "new") +
              file("link", "was a link") + proto::tree_end();
  EXPECT_EQ(unpack(path("to"), tree).result("files"), "5");
  EXPECT_EQ(base::read_file(path("to/dir/mine")), "kept");
  EXPECT_EQ(base::read_file(path("to/file")), "new");
  EXPECT_FALSE(fs::is_symlink(path("to/link")));
  EXPECT_EQ(stat_of(path("to/dir")).st_mode & 07777, 01777u) << "a directory that was there";
}

TEST_F(AgentTrees, NeverFollowASymlinkBelowTheTarget) {
  fs::create_directories(path("outside"));
  fs::create_directories(path("to"));
  symlink(path("outside").c_str(), path("to/dir").c_str());
  auto& refused = unpack(
      path("to"), root() + entry(Type::directory, "dir") + file("dir/x", "x") + proto::tree_end());
  EXPECT_EQ(refused.result(""), "error: guest: cannot unpack '" + path("to/dir") +
                                    "': Not a directory (below the target no symbolic link is "
                                    "followed)");
  EXPECT_TRUE(fs::is_empty(path("outside")));
}

TEST_F(AgentTrees, MayHaveATargetThatIsASymlinkToADirectory) {
  fs::create_directories(path("real"));
  symlink("real", path("to").c_str());
  EXPECT_EQ(unpack(path("to"), root() + file("x", "x") + proto::tree_end()).result("files"), "2");
  EXPECT_EQ(base::read_file(path("real/x")), "x");
}

TEST_F(AgentTrees, ThatAreHostileMakeNothingOutside) {
  fs::create_directories(path("to"));
  for (const char* name : {"..", "../x", "/x", "a//b", ".", "a/../../x"}) {
    EXPECT_THAT(unpack(path("to"), root() + file(name, "x")).result(""),
                HasSubstr("is no path below the root"));
  }
  EXPECT_THAT(unpack(path("to"), root() + entry(Type::symlink, "l", 0777, "..") + file("l/x", "x"))
                  .result(""),
              HasSubstr("directory is not open"));
  EXPECT_FALSE(fs::exists(path("x")));
  peer_.settle();
}

TEST_F(AgentTrees, ThatAreCutOffLeaveNoHalfFile) {
  auto tree = root() + entry(Type::file, "x", 0644, "", 100) + proto::tree_data_head(0, 50) +
              std::string(50, 'x');
  EXPECT_THAT(unpack(path("to"), tree).result(""), HasSubstr("is broken: its end is missing"));
  peer_.settle();
  EXPECT_TRUE(fs::is_empty(path("to")));
}

TEST_F(AgentTrees, ForAFullDiskAreAnErrorWithoutAHalfFile) {
  fs::create_directories(path("to"));
  if (mount("tmpfs", path("to").c_str(), "tmpfs", 0, "size=256k") != 0)
    GTEST_SKIP() << "cannot mount a tmpfs";
  auto text = unpack(path("to"), root() + file("small", "x") +
                                     file("large", std::string(1 << 20, 'x')) + proto::tree_end())
                  .result("");
  peer_.settle();
  std::vector<std::string> left;
  for (auto& found : fs::directory_iterator(path("to"))) left.push_back(found.path().filename());
  umount2(path("to").c_str(), MNT_DETACH);
  EXPECT_THAT(text, HasSubstr("large': No space left on device, after 2 whole entries"));
  EXPECT_THAT(left, UnorderedElementsAre("small"));
}

TEST_F(AgentTrees, WriteIntoAFileThatSomethingIsMountedOn) {
  base::write_file(path("to"), "below");
  base::write_file(path("other"), "mounted");
  if (mount(path("other").c_str(), path("to").c_str(), "", MS_BIND, nullptr) != 0)
    GTEST_SKIP() << "cannot bind";
  auto& done = unpack(path("to"), file("", "new") + proto::tree_end());
  auto text = done.result("files");
  umount2(path("to").c_str(), MNT_DETACH);
  EXPECT_EQ(text, "1");
  EXPECT_EQ(base::read_file(path("other")), "new");
}

TEST_F(AgentTrees, AFileCannotBecomeADirectory) {
  fs::create_directories(path("to/dir"));
  EXPECT_THAT(unpack(path("to"), root() + file("dir", "x") + proto::tree_end()).result(""),
              HasSubstr("dir': Is a directory"));
  EXPECT_THAT(unpack(path("no/such"), root() + proto::tree_end()).result(""),
              HasSubstr("cannot unpack '" + path("no/such") + "': No such file or directory"));
}

}  // namespace
}  // namespace attest::agent_test
