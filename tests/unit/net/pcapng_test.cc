#include "lib/net/pcapng.h"

#include "lib/base/file.h"
#include "lib/net/capture_file.h"
#include "tests/unit/net/own_network.h"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <csignal>

namespace attest::net {
namespace {
using testing::HasSubstr;
using namespace std::chrono_literals;
using namespace std::string_literals;

std::uint32_t number_at(std::string_view bytes, std::size_t place) {
  std::uint32_t number = 0;
  for (std::size_t byte = 4; byte-- > 0;)
    number = number << 8 | static_cast<unsigned char>(bytes[place + byte]);
  return number;
}

// The blocks of a file, each with its type and lengths.
std::vector<std::string> blocks_of(std::string_view bytes) {
  std::vector<std::string> blocks;
  while (bytes.size() >= 12) {
    auto length = number_at(bytes, 4);
    if (length > bytes.size() || length % 4 != 0) break;
    blocks.emplace_back(bytes.substr(0, length));
    bytes.remove_prefix(length);
  }
  EXPECT_EQ(bytes.size(), 0U) << "after the last whole block";
  return blocks;
}

// By hand from the draft, field by field.
TEST(Pcapng, WritesASectionAnInterfaceAndAPacketByteForByte) {
  std::string out;
  pcapng::append_section(out, "attest");
  pcapng::append_interface(out, "web", "VLAN 1");
  std::chrono::system_clock::time_point at(1'700'000'000'123'456'789ns);  // 0x17979cfe3d85cd15
  pcapng::append_packet(
      out, {.interface = 2, .at = at, .frame = "fourteen bytes", .comment = "web -> db"});

  auto section =
      "\x0a\x0d\x0d\x0a\x2c\0\0\0\x4d\x3c\x2b\x1a\1\0\0\0"
      "\xff\xff\xff\xff\xff\xff\xff\xff"
      "\4\0\6\0attest\0\0"
      "\0\0\0\0\x2c\0\0\0"s;
  auto interface =
      "\1\0\0\0\x34\0\0\0\1\0\0\0\0\0\4\0"
      "\2\0\3\0web\0"
      "\3\0\6\0VLAN 1\0\0"
      "\x09\0\1\0\x09\0\0\0"
      "\0\0\0\0\x34\0\0\0"s;
  auto packet =
      "\6\0\0\0\x4c\0\0\0\2\0\0\0\xfe\x9c\x97\x17\x15\xcd\x85\x3d\x0e\0\0\0\x0e\0\0\0"
      "fourteen bytes\0\0"
      "\1\0\x09\0web -> db\0\0\0"
      "\2\0\4\0\1\0\0\0"
      "\0\0\0\0\x4c\0\0\0"s;
  EXPECT_EQ(out.substr(0, section.size()), section);
  EXPECT_EQ(out.substr(section.size(), interface.size()), interface);
  EXPECT_EQ(out.substr(section.size() + interface.size()), packet);
}

TEST(Pcapng, PadsEveryBlockToFourBytesAndRepeatsItsLength) {
  for (std::size_t size = 0; size < 9; ++size) {
    std::string text(size, 'x'), out;
    pcapng::append_section(out, text);
    pcapng::append_interface(out, text, text);
    pcapng::append_packet(out, {.frame = text, .comment = text});
    auto blocks = blocks_of(out);
    ASSERT_EQ(blocks.size(), 3U) << size;
    for (auto& block : blocks) {
      EXPECT_EQ(number_at(block, block.size() - 4), block.size()) << size;
      EXPECT_EQ(number_at(block, block.size() - 8), 0U)
          << "the options of " << size << " do not end";
    }
    EXPECT_EQ(number_at(blocks[2], 20), size) << "captured";
  }
}

TEST(Pcapng, CutsWhatIsLongerThanAFrameCanBeAndTellsItsLength) {
  std::string frame(pcapng::longest_frame + 3, 'x'), out;
  pcapng::append_packet(out, {.frame = frame});
  EXPECT_EQ(number_at(out, 20), pcapng::longest_frame);
  EXPECT_EQ(number_at(out, 24), frame.size());
  EXPECT_EQ(blocks_of(out).size(), 1U);
}

TEST(Pcapng, CutsATextThatNoOptionCanHold) {
  std::string comment(100'000, 'x'), out;
  pcapng::append_packet(out, {.frame = "x", .comment = comment});
  EXPECT_EQ(blocks_of(out).size(), 1U);
  EXPECT_LT(out.size(), 66'000U);
}

TEST(Pcapng, FindsTheEndOfTheLastWholeBlock) {
  std::string out;
  pcapng::append_interface(out, "a", "");
  auto first = out.size();
  pcapng::append_packet(out, {.frame = "frame"});
  for (std::size_t size = 0; size <= out.size(); ++size) {
    auto whole = pcapng::whole_blocks(std::string_view(out).substr(0, size));
    EXPECT_EQ(whole.bytes, size == out.size() ? size : size >= first ? first : 0) << size;
    EXPECT_EQ(whole.packets, size == out.size() ? 1U : 0U) << size;
  }
}

class CaptureFileTest : public testing::Test {
 protected:
  CaptureFile& capture(const std::filesystem::path& path) {
    return capture_.emplace(path, plan_, 1);
  }
  void see(Member from, Member to, const char* fault = "", std::string_view frame = "a frame") {
    capture_->see({.at = {}, .from = from, .to = to, .frame = frame, .fault = fault});
  }
  std::string content() { return base::read_file(capture_->path()); }

  base::TempDir dir_;
  Plan plan_ = make_plan({{"db", {1}}, {"other", {2}}, {"web", {2, 1}}});  // numbers 1, 2 and 3
  std::optional<CaptureFile> capture_;
};

TEST_F(CaptureFileTest, SaysWhoSentEachFrameToWhomAndWhatTookItAway) {
  auto& file = capture(dir_.path() / "a.pcapng");
  const std::tuple<Member, Member, const char*, const char*> cases[] = {
      {3, 1, "", "web -> db"},
      {3, 0, "", "web -> all"},
      {test_process_node, 3, "", "(test) -> web"},
      {1, test_process_node, "", "db -> (test)"},
      {3, 1, "partition", "web -> db, lost: partition"},
      {3, 1, "loss", "web -> db, lost: loss"},
      {1, 3, "rate", "db -> web, lost: rate"},
      {1, 0, "mtu", "db -> all, lost: mtu"},
      {0, 1, "", "(unknown) -> db"},
      {77, 1, "", "node 77 -> db"},
  };
  std::uint64_t frames = 0;
  for (auto& [from, to, fault, comment] : cases) {
    see(from, to, fault);
    EXPECT_EQ(file.frames(), ++frames);
    file.flush();
    auto packet = blocks_of(content()).back();
    EXPECT_EQ(number_at(packet, 0), 6U) << comment;
    auto size = static_cast<char>(std::string_view(comment).size());
    EXPECT_THAT(packet, HasSubstr("\1\0"s + size + '\0' + comment))
        << "the option, with its length";
  }
  file.finish();
}

TEST_F(CaptureFileTest, HasAnInterfaceForEachMemberOfItsVlanFromTheBeginning) {
  capture(dir_.path() / "a.pcapng");
  auto blocks = blocks_of(content());
  ASSERT_EQ(blocks.size(), 4U);
  EXPECT_THAT(blocks[1], HasSubstr("\2\0\2\0db\0\0"s));
  EXPECT_THAT(blocks[1], HasSubstr("VLAN 1, 192.168.1.1, 52:54:00:12:01:01"));
  EXPECT_THAT(blocks[2], HasSubstr("\2\0\3\0web\0"s));
  EXPECT_THAT(blocks[3], HasSubstr("\2\0\6\0(test)\0\0"s));
}

TEST_F(CaptureFileTest, AddsAnInterfaceBeforeTheFirstFrameOfAMachineAddedLater) {
  auto& file = capture(dir_.path() / "a.pcapng");
  see(1, 0);
  add_machine(plan_, "late", {1});
  see(1, 4);  // to it: no interface is needed
  see(4, 1);
  see(4, 1);
  file.finish();
  auto blocks = blocks_of(content());
  ASSERT_EQ(blocks.size(), 9U);
  EXPECT_THAT(blocks[5], HasSubstr("db -> late"));
  EXPECT_THAT(blocks[6], HasSubstr("\2\0\4\0late"s));
  EXPECT_EQ(number_at(blocks[7], 8), 3U) << "its interface";
  EXPECT_EQ(number_at(blocks[8], 8), 3U);
}

TEST_F(CaptureFileTest, CollectsSmallFramesAndWritesManyAtOnce) {
  auto& file = capture(dir_.path() / "a.pcapng");
  auto before = content();
  see(1, 3);
  EXPECT_EQ(content(), before);
  for (int frame = 0; frame < 2000; ++frame) see(1, 3);
  auto after = content();
  EXPECT_GT(after.size(), before.size() + 65'000);
  blocks_of(after);
  file.flush();
  EXPECT_EQ(blocks_of(content()).size(), 4U + 2001U);
}

TEST_F(CaptureFileTest, IsWrittenOutAtItsEndWithoutFinish) {
  capture(dir_.path() / "a.pcapng");
  see(1, 3);
  capture_.reset();
  EXPECT_EQ(blocks_of(base::read_file(dir_.path() / "a.pcapng")).size(), 5U);
}

TEST_F(CaptureFileTest, IgnoresFramesAfterItsEnd) {
  auto& file = capture(dir_.path() / "a.pcapng");
  see(1, 3);
  file.finish();
  see(1, 3);
  file.finish();
  EXPECT_EQ(file.frames(), 1U);
  EXPECT_EQ(blocks_of(content()).size(), 5U);
}

TEST_F(CaptureFileTest, MakesTheDirectoriesAboveIt) {
  capture(dir_.path() / "x/y/a.pcapng");
  EXPECT_EQ(blocks_of(content()).size(), 4U);
}

TEST_F(CaptureFileTest, ReplacesAFileAndLeavesTheOldOneToWhoHasIt) {
  base::write_file(dir_.path() / "a.pcapng", "an old capture");
  base::Fd reader(::open((dir_.path() / "a.pcapng").c_str(), O_RDONLY | O_CLOEXEC));
  capture(dir_.path() / "a.pcapng");
  char old[20]{};
  EXPECT_EQ(::read(reader.get(), old, sizeof old), 14);
  EXPECT_STREQ(old, "an old capture");
  EXPECT_EQ(blocks_of(content()).size(), 4U);
}

// What the constructor throws.
std::string refusal(const std::filesystem::path& path, const Plan& plan) try {
  CaptureFile made(path, plan, 1);
  return "it was made";
} catch (const Error& error) {
  EXPECT_EQ(error.kind(), Error::Kind::host);
  return error.what();
}

TEST_F(CaptureFileTest, RefusesAPathThatCannotBeMadeWithTheReason) {
  base::write_file(dir_.path() / "file", "");
  auto path = dir_.path() / "file/a.pcapng";
  EXPECT_THAT(refusal(path, plan_), HasSubstr("making the capture '" + path.string() + "': "));
  EXPECT_THAT(refusal(path, plan_), HasSubstr("Not a directory"));
  EXPECT_THAT(refusal(dir_.path(), plan_), HasSubstr("Is a directory"));
}

TEST_F(CaptureFileTest, RefusesADirectoryThatCannotBeWritten) {
  auto locked = dir_.path() / "locked";
  std::filesystem::create_directory(locked);
  std::filesystem::permissions(locked, std::filesystem::perms::owner_exec);
  on_a_thread([&] {
    drop_capabilities();  // else root may
    EXPECT_THAT(refusal(locked / "a.pcapng", plan_), HasSubstr("Permission denied"));
    EXPECT_THAT(refusal(locked / "x/a.pcapng", plan_), HasSubstr("Permission denied"));
  });
  std::filesystem::permissions(locked, std::filesystem::perms::owner_all);  // to be removed
}

TEST_F(CaptureFileTest, RefusesADiskThatIsFullFromTheBeginning) {
  EXPECT_THAT(refusal("/dev/full", plan_), HasSubstr("'/dev/full': No space left on device"));
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/full"));
}

// Files of this process take `bytes` and no more: like a disk that becomes full, the write that
// goes beyond is done in part.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;
  ~FileLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST_F(CaptureFileTest, EndsAfterTheLastWholeBlockWhenTheDiskIsFullAndSaysSoAtTheEnd) {
  auto& file = capture(dir_.path() / "a.pcapng");
  {
    FileLimit limit(100'001);
    for (int frame = 0; frame < 5000; ++frame) see(1, 3);
  }
  auto frames = file.frames();
  EXPECT_GT(frames, 1000U);
  EXPECT_LT(frames, 2000U);
  auto bytes = content();
  EXPECT_EQ(blocks_of(bytes).size(), 4 + frames);
  EXPECT_LE(bytes.size(), 100'001U);
  EXPECT_GT(bytes.size(), 99'900U) << "whole blocks were lost";

  see(1, 3);
  file.flush();
  for (int attempt = 0; attempt < 2; ++attempt) try {
      file.finish();
      ADD_FAILURE() << "it has finished";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::host);
      EXPECT_THAT(error.what(),
                  HasSubstr("writing the capture '" + file.path().string() + "': File too large"));
      EXPECT_THAT(error.what(), HasSubstr("up to its frame " + std::to_string(frames) + ";"));
    }
  EXPECT_EQ(file.frames(), frames);
  EXPECT_EQ(content(), bytes);
}

}  // namespace
}  // namespace attest::net
