#include "lib/net/switching/frames.h"

#include <gmock/gmock.h>

#include <vector>

namespace attest::net {
namespace {
using testing::ElementsAre;
using testing::ElementsAreArray;

// Feeds `bytes` in the given pieces and returns the frames, without their lengths.
std::vector<std::string> split(FrameSplitter& splitter, std::string_view bytes, std::size_t piece) {
  std::vector<std::string> frames;
  while (!bytes.empty()) {
    splitter.feed(bytes.substr(0, piece));
    while (auto framed = splitter.next()) frames.emplace_back(framed->substr(length_bytes));
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  return frames;
}

TEST(Frames, CarryTheirLengthBigEndianInFront) {
  EXPECT_EQ(encode_frame("abc"), std::string("\0\0\0\3abc", 7));
  EXPECT_EQ(encode_frame(std::string(0x12345, 'x')).substr(0, 4),
            std::string("\x00\x01\x23\x45", 4));
  EXPECT_EQ(read_length("\xff\x01\x02\x03"), 0xff010203u);
}

TEST(FrameSplitter, ReturnsTheSameFramesForASplitAtEveryByte) {
  const std::vector<std::string> frames{"a", std::string(300, 'b'), "cc", std::string(1, '\0'),
                                        "last"};
  std::string stream;
  for (auto& frame : frames) stream += encode_frame(frame);
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    FrameSplitter splitter;
    std::vector<std::string> got;
    for (auto part :
         {std::string_view(stream).substr(0, cut), std::string_view(stream).substr(cut)})
      for (auto& frame : split(splitter, part, stream.size())) got.push_back(frame);
    EXPECT_THAT(got, ElementsAreArray(frames)) << "cut after byte " << cut;
    EXPECT_FALSE(splitter.broken());
  }
}

TEST(FrameSplitter, ReturnsTheSameFramesForPiecesOfEverySize) {
  const std::vector<std::string> frames{std::string(70, 'a'), "b", std::string(33, 'c')};
  std::string stream;
  for (auto& frame : frames) stream += encode_frame(frame);
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    FrameSplitter splitter;
    EXPECT_THAT(split(splitter, stream, piece), ElementsAreArray(frames)) << "pieces of " << piece;
  }
}

TEST(FrameSplitter, KeepsAllFramesOfOneFeedValidUntilTheNext) {
  auto stream = encode_frame("first") + encode_frame("second") + encode_frame("third");
  FrameSplitter splitter;
  splitter.feed(std::string_view(stream).substr(0, 7));
  EXPECT_FALSE(splitter.next());
  splitter.feed(std::string_view(stream).substr(7));
  auto first = splitter.next(), second = splitter.next(), third = splitter.next();
  EXPECT_FALSE(splitter.next());
  EXPECT_THAT((std::vector{first->substr(4), second->substr(4), third->substr(4)}),
              ElementsAre("first", "second", "third"));
  EXPECT_EQ(second->data() + second->size(), third->data()) << "whole frames are not copied";
}

TEST(FrameSplitter, TakesTheLongestFrame) {
  FrameSplitter splitter;
  std::string longest(max_frame, 'x');
  EXPECT_THAT(split(splitter, encode_frame(longest), 10'000), ElementsAre(longest));
}

struct BrokenCase {
  const char* name;
  std::string_view bytes;
};
class FrameSplitterRefuses : public testing::TestWithParam<BrokenCase> {};

TEST_P(FrameSplitterRefuses, AndReturnsNothingMore) {
  auto stream = encode_frame("good") + std::string(GetParam().bytes) + encode_frame("never seen");
  for (std::size_t piece : {std::size_t{1}, std::size_t{3}, stream.size()}) {
    FrameSplitter splitter;
    EXPECT_THAT(split(splitter, stream, piece), ElementsAre("good"));
    EXPECT_TRUE(splitter.broken());
  }
}
INSTANTIATE_TEST_SUITE_P(, FrameSplitterRefuses,
                         testing::Values(BrokenCase{"zero_length", {"\0\0\0\0", 4}},
                                         BrokenCase{"one_too_long", {"\0\4\0\1", 4}},
                                         BrokenCase{"text", "GET / HTTP/1.1\r\n"},
                                         BrokenCase{"all_ones", "\xff\xff\xff\xff"}),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace attest::net
