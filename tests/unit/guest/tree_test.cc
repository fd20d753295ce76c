// Files and trees, on every guest and on the host.
#include "lib/base/file.h"
#include "lib/guest/host_tree.h"
#include "tests/unit/guest/every_guest.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>

namespace attest::guest {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Kind = Error::Kind;

class EveryTree : public EveryGuest {
 protected:
  std::string host(const std::string& name) { return (folder.path() / name).string(); }
  void send(const std::string& from, const std::string& to) {
    auto tree = read_tree(from);
    peer.loop.run(peer.guest->send_tree(*tree, to, in(60s)));
  }
  void fetch(const std::string& from, const std::string& to) {
    auto sink = write_tree(to);
    peer.loop.run(peer.guest->fetch_tree(from, *sink, in(60s)));
  }
  base::TempDir folder{"attest-tree-"};
};
INSTANTIATE_TEST_SUITE_P(, EveryTree, ::testing::ValuesIn(every_guest), peer_name);

struct stat status_of(const std::string& path) {
  struct stat status{};
  ::lstat(path.c_str(), &status);
  return status;
}

// Names that a careless script would stumble over.
const char* const hostile_names[] = {"a b", "-rf",   "new\nline", "'quote'", "$(reboot)",
                                     "*",   "ä\xff", ".hidden",   "..x",     "back\\slash"};

TEST_P(EveryTree, WritesAndReadsFiles) {
  std::string bytes;
  for (int i = 0; i < 400'000; ++i) bytes += static_cast<char>(i * 7 + i / 251);
  peer.loop.run(peer.guest->write_file("/tmp/new dir/sub/it's", bytes, 0640, in(60s)));
  EXPECT_EQ(peer.sh("stat -c %a \"/tmp/new dir/sub/it's\"").output, "640\n");
  EXPECT_EQ(peer.loop.run(peer.guest->read_file("/tmp/new dir/sub/it's", in(60s))), bytes);
  peer.loop.run(peer.guest->write_file("/tmp/new dir/sub/it's", "", 0600, in(60s)));
  EXPECT_EQ(peer.loop.run(peer.guest->read_file("/tmp/new dir/sub/it's", in(60s))), "");
  EXPECT_EQ(peer.sh("ls -A \"/tmp/new dir/sub\"").output, "it's\n");
}

TEST_P(EveryTree, SaysWhyAFileCannotBeReadOrWritten) {
  auto read = [&](std::string path) { return peer.error_in(peer.guest->read_file(path, in(20s))); };
  EXPECT_EQ(read("/tmp/none").kind(), Kind::guest);
  EXPECT_THAT(read("/tmp/none").what(), AllOf(HasSubstr("o such file"), HasSubstr("'/tmp/none'")));
  EXPECT_EQ(read("/tmp").kind(), Kind::guest);
  EXPECT_EQ(read("tmp").kind(), Kind::usage);
  auto write = peer.error_in(peer.guest->write_file("/proc/x/y", "z", 0644, in(20s)));
  EXPECT_EQ(write.kind(), Kind::guest) << write.what();
  peer.sh("truncate -s 70000000 /tmp/large");
  EXPECT_EQ(read("/tmp/large").kind(), Kind::guest);
  EXPECT_THAT(read("/tmp/large").what(), HasSubstr("more than 64 MiB"));
}

TEST_P(EveryTree, CarriesATreeThereAndBack) {
  const auto from = host("from");
  fs::create_directories(from + "/empty");
  fs::create_directories(from + "/deep/deeper");
  for (auto* name : hostile_names) {
    base::write_file(from + "/" + name, std::string("content of ") + name);
    fs::create_directory(from + "/deep/" + name);
  }
  base::write_file(from + "/deep/deeper/zero", "");
  fs::create_symlink("/etc/../nowhere\n", from + "/link");
  ::chmod((from + "/a b").c_str(), 04751);
  ::chmod((from + "/empty").c_str(), 0700);
  const timespec times[2] = {{0, UTIME_OMIT}, {1'234'567'890, 0}};
  ::utimensat(AT_FDCWD, (from + "/a b").c_str(), times, 0);
  ::utimensat(AT_FDCWD, (from + "/empty").c_str(), times, 0);
  send(from, "/tmp/there");
  EXPECT_EQ(peer.sh("cat '/tmp/there/$(reboot)'; stat -c '%a %Y' '/tmp/there/a b' "
                    "/tmp/there/empty")
                .output,
            "content of $(reboot)4751 1234567890\n700 1234567890\n");
  const auto back = host("back");
  fetch("/tmp/there", back);
  for (auto* name : hostile_names) {
    EXPECT_EQ(base::read_file(back + "/" + name), std::string("content of ") + name);
    EXPECT_TRUE(fs::is_directory(back + "/deep/" + name));
  }
  EXPECT_EQ(fs::read_symlink(back + "/link"), "/etc/../nowhere\n");
  EXPECT_EQ(status_of(back + "/a b").st_mode & 07777, 04751u);
  EXPECT_EQ(status_of(back + "/a b").st_mtim.tv_sec, 1'234'567'890);
  EXPECT_EQ(status_of(back + "/empty").st_mtim.tv_sec, 1'234'567'890);
  EXPECT_TRUE(fs::exists(back + "/deep/deeper/zero"));
}

TEST_P(EveryTree, CarriesOneFileAndMergesDirectories) {
  base::write_file(host("one"), "1");
  send(host("one"), "/tmp/new/place/two");
  EXPECT_EQ(peer.sh("cat /tmp/new/place/two").output, "1");
  fetch("/tmp/new/place/two", host("x/y/three"));
  EXPECT_EQ(base::read_file(host("x/y/three")), "1");
  fs::create_directory(host("more"));
  base::write_file(host("more/two"), "2");
  peer.sh("touch /tmp/new/place/kept");
  send(host("more"), "/tmp/new/place");
  EXPECT_EQ(peer.sh("cat /tmp/new/place/two; ls /tmp/new/place").output, "2kept\ntwo\n");
}

TEST_P(EveryTree, KeepsLargeContentWithHoles) {
  {
    std::ofstream file(host("sparse"));
    file << "begin";
    file.seekp(3'000'000);
    file << std::string(500'000, 'm');
  }
  ::truncate(host("sparse").c_str(), 5'000'001);
  send(host("sparse"), "/tmp/sparse");
  fetch("/tmp/sparse", host("back"));
  EXPECT_EQ(fs::file_size(host("back")), 5'000'001u);
  EXPECT_EQ(base::read_file(host("back")), base::read_file(host("sparse")));
  if (GetParam().agent) {
    EXPECT_LT(status_of(host("back")).st_blocks * 512, 1'000'000);
  }
}

TEST_P(EveryTree, SaysWhatIsNotThere) {
  auto sink = write_tree(host("x"));
  auto error = peer.error_in(peer.guest->fetch_tree("/tmp/none", *sink, in(20s)));
  EXPECT_EQ(error.kind(), Kind::guest);
  EXPECT_THAT(error.what(), HasSubstr("'/tmp/none'"));
  EXPECT_THROW(read_tree(host("none")), Error);
}

// ---- the host's side alone ----

TEST(HostTree, LeavesOutWhatNoTreeHolds) {
  base::TempDir folder;
  ::mkfifo((folder.path() / "fifo").c_str(), 0600);
  base::write_file(folder.path() / "file", "x");
  auto tree = read_tree(folder.path());
  EXPECT_EQ(tree->next()->path, "");
  EXPECT_EQ(tree->next()->path, "file");
  EXPECT_FALSE(tree->next());
}

proto::TreeEntry entry(proto::TreeEntry::Type type, std::string path, std::string target = {}) {
  proto::TreeEntry made;
  made.type = type;
  made.path = std::move(path);
  made.mode = 0755;
  made.target = std::move(target);
  return made;
}
using Type = proto::TreeEntry::Type;

TEST(HostTree, NeverWritesOutsideOfItsTarget) {
  base::TempDir folder;
  fs::create_directory(folder.path() / "outside");
  auto sink = write_tree(folder.path() / "to");
  sink->entry(entry(Type::directory, ""));
  for (auto* path : {"..", "../x", "/etc/x", "a/../../x", "a//b", "."})
    EXPECT_THROW(sink->entry(entry(Type::directory, path)), Error) << path;
  sink->entry(entry(Type::symlink, "link", "../outside"));
  EXPECT_THROW(sink->entry(entry(Type::file, "link/x")), Error);
  // A directory where a symlink was replaces it.
  sink->entry(entry(Type::directory, "link"));
  sink->entry(entry(Type::file, "link/x"));
  sink->file_end();
  EXPECT_TRUE(fs::is_empty(folder.path() / "outside"));
  EXPECT_TRUE(fs::exists(folder.path() / "to/link/x"));
}

TEST(HostTree, FollowsNoSymlinkThatStandsInTheTarget) {
  base::TempDir folder;
  fs::create_directory(folder.path() / "outside");
  fs::create_directory(folder.path() / "to");
  base::write_file(folder.path() / "outside/file", "kept");
  fs::create_symlink("../outside", folder.path() / "to/sub");
  fs::create_symlink("../outside/file", folder.path() / "to/file");
  auto sink = write_tree(folder.path() / "to");
  sink->entry(entry(Type::directory, ""));
  sink->entry(entry(Type::file, "file"));
  sink->file_end();
  sink->entry(entry(Type::directory, "sub"));
  sink->entry(entry(Type::file, "sub/file"));
  sink->file_end();
  EXPECT_EQ(base::read_file(folder.path() / "outside/file"), "kept");
}

TEST(HostTree, LeavesNoPartOfAFileBehind) {
  base::TempDir folder;
  base::write_file(folder.path() / "to", "old");
  auto sink = write_tree(folder.path() / "to");
  sink->entry(entry(Type::file, ""));
  sink->data({0, "new"});
  sink.reset();
  EXPECT_EQ(base::read_file(folder.path() / "to"), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(HostTree, SaysWhatTheDiskDoesNotTake) {
  rlimit old{}, small{.rlim_cur = 1000, .rlim_max = RLIM_INFINITY};
  ::getrlimit(RLIMIT_FSIZE, &old);
  ::signal(SIGXFSZ, SIG_IGN);
  base::TempDir folder;
  auto sink = write_tree(folder.path() / "to");
  small.rlim_max = old.rlim_max;
  ::setrlimit(RLIMIT_FSIZE, &small);
  sink->entry(entry(Type::file, ""));
  std::string text;
  try {
    sink->data({0, std::string(5000, 'x')});
  } catch (const Error& error) {
    text = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &old);
  EXPECT_THAT(text, AllOf(HasSubstr("writing '" + (folder.path() / "to").string() + "'"),
                          HasSubstr("ile too large")));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace attest::guest
