// read, write, stat, list and clock, against the agent's real program and this host's files.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "tests/unit/agent/peer.h"

namespace attest::agent_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

class AgentFiles : public ::testing::Test {
 protected:
  std::string path(std::string_view name) { return (directory_.path() / name).string(); }
  Stream& write(const AgentFields& fields, std::string_view bytes) {
    auto stream = peer_.open(fields);
    peer_.data(stream, bytes);
    peer_.end(stream);
    return peer_.wait(stream);
  }
  mode_t mode_of(const std::string& name) {
    struct stat status{};
    lstat(name.c_str(), &status);
    return status.st_mode & 07777;
  }
  std::vector<std::string> names() {
    std::vector<std::string> found;
    for (auto& entry : std::filesystem::directory_iterator(directory_.path()))
      found.push_back(entry.path().filename());
    return found;
  }

  base::TempDir directory_{"attest-files-"};
  Agent agent_;
  Peer peer_ = agent_.connect();
};

std::string bytes_of(std::size_t size) {
  std::string bytes(size, '\0');
  unsigned state = 1;
  for (auto& byte : bytes) byte = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

TEST_F(AgentFiles, ReadGivesSizeModeAndEveryByte) {
  auto content = bytes_of((3 << 20) + 17);
  base::write_file(path("x"), content);
  chmod(path("x").c_str(), 0640);
  auto& read = peer_.call({{"op", "read"}, {"path", path("x")}});
  ASSERT_TRUE(read.done) << read.result("");
  EXPECT_TRUE(read.out() == content);
  EXPECT_TRUE(read.ended[1]);
  ASSERT_EQ(read.events.size(), 1u);
  EXPECT_EQ(read.events[0].number("size"), 3145745);
  EXPECT_EQ(read.events[0].get("mode"), "0640");
}

TEST_F(AgentFiles, ReadTakesAPieceByOffsetAndLimit) {
  base::write_file(path("x"), "0123456789");
  EXPECT_EQ(
      peer_.call({{"op", "read"}, {"path", path("x")}, {"offset", "3"}, {"limit", "4"}}).out(),
      "3456");
  EXPECT_EQ(peer_.call({{"op", "read"}, {"path", path("x")}, {"limit", "0"}}).out(), "");
  EXPECT_EQ(peer_.call({{"op", "read"}, {"path", path("x")}, {"offset", "50"}}).out(), "");
}

TEST_F(AgentFiles, ReadTakesFilesThatSayTheyAreEmpty) {
  EXPECT_THAT(peer_.call({{"op", "read"}, {"path", "/proc/version"}}).out(), StartsWith("Linux "));
  EXPECT_THAT(peer_.call({{"op", "read"}, {"path", "/proc/self/status"}}).out(),
              HasSubstr("attest-agent"));
}

TEST_F(AgentFiles, ReadTakesSomeOfADevice) {
  auto& zero = peer_.call({{"op", "read"}, {"path", "/dev/zero"}, {"limit", "100000"}});
  EXPECT_EQ(zero.out(), std::string(100000, '\0'));
}

struct Refusal {
  const char* name;
  std::string_view op, path, text;
};
class AgentFilesRefusal : public ::testing::TestWithParam<Refusal> {};
TEST_P(AgentFilesRefusal, SaysWhatWasTriedAndWhy) {
  Agent agent;
  Peer peer = agent.connect();
  auto stream = peer.open({{"op", GetParam().op}, {"path", GetParam().path}});
  peer.end(stream);
  EXPECT_EQ(peer.wait(stream).result(""), "error: " + std::string(GetParam().text));
}
INSTANTIATE_TEST_SUITE_P(
    , AgentFilesRefusal,
    ::testing::Values(
        Refusal{"read_nothing", "read", "/no/such",
                "guest: cannot read '/no/such': No such file or directory"},
        Refusal{"read_directory", "read", "/etc", "guest: cannot read '/etc': Is a directory"},
        Refusal{"read_relative", "read", "etc/passwd", "usage: 'etc/passwd' is no absolute path"},
        Refusal{"read_empty", "read", "", "usage: an empty path"},
        Refusal{"read_nul", "read", std::string_view("/etc\0/x", 7),
                "usage: a path with a NUL byte"},
        Refusal{"list_nothing", "list", "/no/such",
                "guest: cannot list '/no/such': No such file or directory"},
        Refusal{"list_file", "list", "/etc/passwd",
                "guest: cannot list '/etc/passwd': Not a directory"},
        Refusal{"write_below_nothing", "write", "/no/such/file",
                "guest: cannot write '/no/such/file': No such file or directory"},
        Refusal{"write_directory", "write", "/etc", "guest: cannot write '/etc': Is a directory"},
        Refusal{"pack_nothing", "pack", "/no/such",
                "guest: cannot read '/no/such': No such file or directory"},
        Refusal{"pack_device", "pack", "/dev/null",
                "guest: cannot pack '/dev/null': it is neither file nor directory"}),
    [](const auto& row) { return row.param.name; });

TEST_F(AgentFiles, AFifoBlocksNobodyAndIsReadWhenSomebodyWrites) {
  mkfifo(path("fifo").c_str(), 0600);
  auto read = peer_.open({{"op", "read"}, {"path", path("fifo")}});
  peer_.settle();
  EXPECT_FALSE(peer_[read].over());
  base::Fd writer(::open(path("fifo").c_str(), O_WRONLY));
  ASSERT_EQ(::write(writer.get(), "hello", 5), 5);
  writer.reset();
  EXPECT_EQ(peer_.wait(read).out(), "hello");
}

TEST_F(AgentFiles, AReadThatWaitsCanBeGivenUp) {
  mkfifo(path("fifo").c_str(), 0600);
  auto read = peer_.open({{"op", "read"}, {"path", path("fifo")}});
  peer_.cancel(read);
  EXPECT_THAT(peer_.wait(read).result(""), StartsWith("error: timeout: reading '"));
}

TEST_F(AgentFiles, WriteMakesANewFileWholeOrNotAtAll) {
  auto write = peer_.open({{"op", "write"}, {"path", path("new")}});
  peer_.data(write, "half");
  peer_.settle();
  EXPECT_FALSE(std::filesystem::exists(path("new")));
  peer_.data(write, " whole");
  peer_.end(write);
  EXPECT_EQ(peer_.wait(write).result("size"), "10");
  EXPECT_EQ(base::read_file(path("new")), "half whole");
  EXPECT_EQ(mode_of(path("new")), 0644u);
  EXPECT_THAT(names(), ElementsAre("new"));
}

TEST_F(AgentFiles, WriteLeavesNothingWhenItIsGivenUp) {
  auto write = peer_.open({{"op", "write"}, {"path", path("new")}});
  peer_.data(write, "half");
  peer_.cancel(write);
  EXPECT_THAT(peer_.wait(write).result(""), HasSubstr("was given up"));
  peer_.settle();
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(AgentFiles, WriteKeepsModeLinksAndSymlinksOfWhatIsThere) {
  base::write_file(path("old"), "a longer text");
  chmod(path("old").c_str(), 0751);
  link(path("old").c_str(), path("other").c_str());
  symlink("old", path("link").c_str());
  EXPECT_EQ(write({{"op", "write"}, {"path", path("link")}}, "new").result("size"), "3");
  EXPECT_EQ(base::read_file(path("other")), "new");
  EXPECT_EQ(mode_of(path("old")), 0751u);
  EXPECT_TRUE(std::filesystem::is_symlink(path("link")));
}

TEST_F(AgentFiles, WriteTakesModesParentsAndAppend) {
  auto name = path("a/b/c");
  write({{"op", "write"}, {"path", name}, {"mode", "4755"}, {"parents", "1"}}, "x");
  EXPECT_EQ(mode_of(name), 04755u);
  write({{"op", "write"}, {"path", name}, {"append", "1"}}, "y");
  EXPECT_EQ(base::read_file(name), "xy");
  EXPECT_EQ(write({{"op", "write"}, {"path", name}, {"mode", "9"}}, "").result(""),
            "error: usage: the mode is no octal number up to 7777");
}

TEST_F(AgentFiles, WriteReplacesAProgramThatRuns) {
  std::filesystem::copy("/bin/sleep", path("sleep"));
  pid_t child = fork();
  if (child == 0) {
    // It is busy for as long as the loop below has it open.
    do {
      execl(path("sleep").c_str(), "sleep", "60", nullptr);
    } while (errno == ETXTBSY);
    _exit(1);
  }
  // Until it runs, it may be written to.
  while (base::Fd(::open(path("sleep").c_str(), O_WRONLY))) usleep(1000);
  EXPECT_EQ(write({{"op", "write"}, {"path", path("sleep")}}, "new").result("size"), "3");
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(base::read_file(path("sleep")), "new");
  EXPECT_EQ(mode_of(path("sleep")), 0755u);
}

TEST_F(AgentFiles, AFullDiskIsAnErrorThatSaysHowMuchWasWritten) {
  if (mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, "size=256k") != 0)
    GTEST_SKIP() << "cannot mount a tmpfs";
  auto& full = write({{"op", "write"}, {"path", path("new")}}, std::string(1 << 20, 'x'));
  auto text = full.result("");
  auto left = names();
  write({{"op", "write"}, {"path", path("old")}}, "x");
  auto& again = write({{"op", "write"}, {"path", path("old")}}, std::string(1 << 20, 'x'));
  auto text_again = again.result("");
  umount2(directory_.path().c_str(), MNT_DETACH);
  EXPECT_EQ(text, "error: guest: cannot write '" + path("new") +
                      "': No space left on device, after 262144 bytes");
  EXPECT_THAT(left, IsEmpty());
  EXPECT_THAT(text_again, HasSubstr("No space left on device, after "));
}

TEST_F(AgentFiles, StatTellsEveryKindOfFile) {
  base::write_file(path("file"), "12345");
  symlink("file", path("link").c_str());
  symlink("nowhere", path("dangling").c_str());
  mkfifo(path("fifo").c_str(), 0620);
  auto type = [&](std::string_view name, std::string_view follow = "0") {
    return peer_.call({{"op", "stat"}, {"path", name}, {"follow", follow}}).result("type");
  };
  auto& file = peer_.call({{"op", "stat"}, {"path", path("file")}});
  EXPECT_EQ(file.result("type"), "file");
  EXPECT_EQ(file.result("size"), "5");
  EXPECT_EQ(file.result("uid"), "0");
  EXPECT_GT(file.done->number("mtime_ns").value_or(0), 1'600'000'000'000'000'000);
  EXPECT_EQ(type(path("link")), "symlink");
  EXPECT_EQ(peer_.call({{"op", "stat"}, {"path", path("link")}}).result("target"), "file");
  EXPECT_EQ(type(path("link"), "1"), "file");
  EXPECT_EQ(type(path("dangling"), "1"), "none");
  EXPECT_EQ(type(path("fifo")), "fifo");
  EXPECT_EQ(type("/dev/null"), "character");
  EXPECT_EQ(type("/"), "directory");
  EXPECT_EQ(type("/no/such"), "none");
  EXPECT_EQ(type(path("file/below")), "none");
}

TEST_F(AgentFiles, ListTellsAllEntriesOfALargeDirectory) {
  for (int i = 0; i < 3000; ++i) base::Fd(creat(path("f" + std::to_string(i)).c_str(), 0600));
  symlink("f1", path("link").c_str());
  auto& list = peer_.call({{"op", "list"}, {"path", directory_.path().string()}});
  EXPECT_TRUE(list.done);
  EXPECT_EQ(list.events.size(), 3001u);
  for (auto& entry : list.events) {
    if (entry.get("name") == "link") {
      EXPECT_EQ(entry.get("target"), "f1");
    }
  }
}

TEST_F(AgentFiles, ClockTellsTheTime) {
  auto before = std::chrono::system_clock::now().time_since_epoch().count();
  auto told = peer_.call({{"op", "clock"}}).done->number("now_ns").value_or(0);
  EXPECT_GE(told, before);
  EXPECT_LE(told, std::chrono::system_clock::now().time_since_epoch().count());
  EXPECT_EQ(peer_.call({{"op", "clock"}, {"set_ns", "soon"}}).result(""),
            "error: usage: set_ns is no time");
}

TEST_F(AgentFiles, ReseedTakesHexAndNothingElse) {
  for (auto* hex : {"", "0", "0G", "AB", "zz"})
    EXPECT_EQ(peer_.call({{"op", "reseed"}, {"hex", hex}}).result(""),
              "error: usage: hex is not 1 to 256 bytes in lower-case hex")
        << hex;
  EXPECT_EQ(peer_.call({{"op", "reseed"}, {"hex", std::string(514, '0')}}).result(""),
            "error: usage: hex is not 1 to 256 bytes in lower-case hex");
  auto stream = peer_.call({{"op", "reseed"}, {"hex", "00ff10"}});
  if (::geteuid() == 0)
    EXPECT_TRUE(stream.done) << stream.result("");
  else
    EXPECT_NE(stream.result("").find("error: guest: cannot reseed"), std::string::npos);
}

}  // namespace
}  // namespace attest::agent_test
