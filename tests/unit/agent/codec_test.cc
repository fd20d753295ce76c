// The wire format, pure: every field and frame there and back, and every way to send it wrongly.
#include "lib/proto/agent_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace attest::proto {
namespace {

using ::testing::HasSubstr;
using Bytes = std::string;
using Expect = AgentDecoder::Expect;

Bytes bytes(std::initializer_list<int> values) {
  Bytes result;
  for (int value : values) result += static_cast<char>(value);
  return result;
}

struct Frame {
  int type;
  std::uint32_t stream;
  Bytes payload;
  bool operator==(const Frame&) const = default;
};

// All frames, fed in pieces of that size.
std::vector<Frame> frames(AgentDecoder& decoder, std::string_view all, std::size_t piece) {
  std::vector<Frame> result;
  while (!all.empty()) {
    decoder.feed(all.substr(0, piece));
    all.remove_prefix(std::min(piece, all.size()));
    while (auto frame = decoder.next())
      result.push_back({frame->type, frame->stream, Bytes(frame->payload)});
  }
  return result;
}

TEST(AgentWire, IsWhatTheProtocolSays) {
  EXPECT_EQ(agent_frame(AgentFrameType::open, 0x01020304, "ab"),
            bytes({0, 0, 0, 2, 1, 1, 2, 3, 4, 'a', 'b'}));
  EXPECT_EQ(agent_data_head(7, 2, 0x1234), bytes({0, 0, 0x12, 0x35, 2, 0, 0, 0, 7, 2}));
  EXPECT_EQ(agent_end(7, 1), bytes({0, 0, 0, 1, 3, 0, 0, 0, 7, 1}));
  EXPECT_EQ(agent_window_frame(7, 0x10000), bytes({0, 0, 0, 4, 4, 0, 0, 0, 7, 0, 1, 0, 0}));
  EXPECT_EQ(AgentFields({{"op", "x"}}).encode(), bytes({0, 2, 'o', 'p', 0, 0, 0, 1, 'x'}));
  EXPECT_EQ(agent_greeting("x86_64", "id"), "\nATTEST-AGENT/1 machine=x86_64 boot=id\n");
  EXPECT_EQ(agent_greeting("x86_64", "id", "0123"),
            "\nATTEST-AGENT/1 machine=x86_64 boot=id asked=0123\n");
  EXPECT_EQ(agent_hello("0123"), "\nATTEST-HOST/1 0123\n");
  EXPECT_EQ(agent_question("0123"), "\nATTEST-HOST/1 0123 ask\n");
}

TEST(AgentFieldsTest, KeepTheirOrderAndRepeat) {
  AgentFields fields{{"argv", "a"}, {"argv", ""}, {"n", "-5"}};
  fields.add("big", std::int64_t{1} << 40).add("nul", std::string_view("\0\xff", 2));
  auto decoded = AgentFields::decode(fields.encode());
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, fields);
  EXPECT_THAT(decoded->all("argv"), ::testing::ElementsAre("a", ""));
  EXPECT_EQ(decoded->number("n"), -5);
  EXPECT_EQ(decoded->number("big"), std::int64_t{1} << 40);
  EXPECT_EQ(decoded->get("nul"), std::string_view("\0\xff", 2));
  EXPECT_FALSE(decoded->has("none"));
  EXPECT_EQ(decoded->get("none", "otherwise"), "otherwise");
}

TEST(AgentFieldsTest, NumbersAreWholeAndInRange) {
  for (auto text : {"", " 1", "1 ", "x", "1x", "+1", "99999999999999999999", "0x1"})
    EXPECT_FALSE((AgentFields{{"n", text}}.number("n"))) << text;
}

TEST(AgentFieldsTest, AreRefusedWhenCutAnywhere) {
  const Bytes whole = AgentFields{{"op", "run"}}.encode();
  for (std::size_t size = 1; size < whole.size(); ++size)
    EXPECT_FALSE(AgentFields::decode(whole.substr(0, size))) << size;
  EXPECT_TRUE(AgentFields::decode(""));
  EXPECT_FALSE(AgentFields::decode(bytes({0, 1, 'a', 0xff, 0xff, 0xff, 0xff, 'x'})));
  EXPECT_FALSE(AgentFields::decode(bytes({0xff, 0xff, 'a'})));
}

TEST(AgentFrames, ComeOutHoweverTheyAreCut) {
  const Bytes all = "noise\xff\n" + agent_hello("nonce") +
                    agent_frame(AgentFrameType::open, 1, AgentFields{{"op", "x"}}.encode()) +
                    agent_data_head(1, 0, 3) + "abc" + agent_end(1, 0) +
                    agent_frame(AgentFrameType::ping, 0) + agent_window_frame(1, 5);
  AgentDecoder whole(Expect::hello);
  const auto expected = frames(whole, all, all.size());
  ASSERT_EQ(expected.size(), 5u);
  EXPECT_EQ(expected[1], (Frame{2, 1, Bytes("\0abc", 4)}));
  for (std::size_t piece = 1; piece < all.size(); ++piece) {
    AgentDecoder decoder(Expect::hello);
    EXPECT_EQ(frames(decoder, all, piece), expected) << piece;
    EXPECT_EQ(decoder.greeting().nonce, "nonce");
    EXPECT_FALSE(decoder.greeting().asks);
  }
}

TEST(AgentFrames, AQuestionAndItsAnswerNameEachOther) {
  AgentDecoder agent(Expect::hello), host(Expect::greeting);
  agent.feed(agent_question("0123"));
  ASSERT_TRUE(agent.greeted());
  EXPECT_EQ(agent.greeting().nonce, "0123");
  EXPECT_TRUE(agent.greeting().asks);
  host.feed(agent_greeting("m", "b", "0123"));
  ASSERT_TRUE(host.greeted());
  EXPECT_EQ(host.greeting(), (AgentGreeting{1, "m", "b", "0123"}));
}

TEST(AgentFrames, WaitForTheirRestAtEveryByte) {
  const Bytes frame = agent_frame(AgentFrameType::open, 9, "payload");
  for (std::size_t size = 0; size < frame.size(); ++size) {
    AgentDecoder decoder(Expect::hello);
    EXPECT_TRUE(frames(decoder, agent_hello("n") + frame.substr(0, size), 1000).empty()) << size;
    EXPECT_EQ(decoder.broken(), "");
    EXPECT_FALSE(decoder.restarted());
    EXPECT_EQ(frames(decoder, frame.substr(size), 1000).size(), 1u) << size;
  }
}

TEST(AgentFrames, PayloadsOfChannelsAndCredit) {
  AgentFrame frame{2, 1, ""};
  EXPECT_FALSE(frame.channel());
  EXPECT_FALSE(frame.credit());
  frame.payload = "abcd";
  EXPECT_EQ(frame.channel()->first, 'a');
  EXPECT_EQ(frame.channel()->second, "bcd");
  EXPECT_EQ(frame.credit(), 0x61626364u);
  frame.payload = "abcde";
  EXPECT_FALSE(frame.credit());
}

struct BrokenCase {
  const char* name;
  Bytes after_hello;
  const char* says;
};
class Broken : public ::testing::TestWithParam<BrokenCase> {};

TEST_P(Broken, BreaksTheDecoderUntilTheNextHello) {
  for (std::size_t piece : {1, 7, 1000}) {
    AgentDecoder decoder(Expect::hello);
    frames(decoder, agent_hello("one") + GetParam().after_hello, piece);
    EXPECT_THAT(decoder.broken(), HasSubstr(GetParam().says));
    EXPECT_FALSE(decoder.next());
    decoder.start_over();
    EXPECT_EQ(decoder.broken(), "");
    EXPECT_FALSE(decoder.greeted());
    EXPECT_EQ(frames(decoder, agent_hello("two") + agent_end(3, 1), piece).size(), 1u);
    EXPECT_EQ(decoder.greeting().nonce, "two");
  }
}

INSTANTIATE_TEST_SUITE_P(
    , Broken,
    ::testing::Values(BrokenCase{"length_of_all_ones", bytes({255, 255, 255, 255, 1, 0, 0, 0, 1}),
                                 "4294967295 bytes"},
                      BrokenCase{"one_byte_over_the_limit", bytes({0, 0x40, 0, 1, 1, 0, 0, 0, 1}),
                                 "4194305 bytes"},
                      BrokenCase{"text", "GET / HTTP/1.1\r\n\r\n", "bytes was announced"},
                      BrokenCase{"a_line_that_is_no_hello", "\nATTEST-HOST/x\n", "announced"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(AgentFirstLine, AnotherVersionIsBroken) {
  AgentDecoder decoder(Expect::greeting);
  decoder.feed("\nATTEST-AGENT/2 machine=x\n");
  EXPECT_THAT(decoder.broken(), HasSubstr("version 2"));
}

TEST(AgentFirstLine, WrongOnesAreSkipped) {
  for (Bytes wrong : {"ATTEST-HOST/ n\n", "ATTEST-HOST/1x n\n", "attest-host/1 n\n",
                      "ATTEST-HOST/1 a\x01\n", "ATTEST-AGENT/1 machine=x\n"}) {
    AgentDecoder decoder(Expect::hello);
    decoder.feed(wrong);
    EXPECT_FALSE(decoder.greeted()) << wrong;
    decoder.feed(agent_hello("n"));
    EXPECT_TRUE(decoder.greeted()) << wrong;
  }
}

TEST(AgentFirstLine, NoiseNeverGrows) {
  AgentDecoder decoder(Expect::hello);
  for (int i = 0; i < 2000; ++i) decoder.feed(Bytes(5000, i % 7 == 0 ? '\n' : 'x'));
  EXPECT_LE(decoder.skipped().size(), 2048u);
  decoder.feed(agent_hello("n"));
  EXPECT_TRUE(decoder.greeted());
}

TEST(AgentFirstLine, IsFoundBehindACutFrameWhenAllIsSilent) {
  for (std::size_t size = 1; size < 40; ++size) {
    AgentDecoder decoder(Expect::hello);
    const Bytes frame = agent_frame(AgentFrameType::open, 9, Bytes(1000, 'p'));
    frames(decoder, agent_hello("one") + frame.substr(0, size) + agent_hello("two"), 1000);
    if (!decoder.broken().empty()) continue;  // "\nATT" was a part of the length
    ASSERT_TRUE(decoder.restarted()) << size;
    decoder.restart();
    EXPECT_EQ(decoder.greeting().nonce, "two");
    EXPECT_EQ(frames(decoder, agent_end(3, 1), 1000).size(), 1u);
  }
}

TEST(AgentFirstLine, WhereAFrameWouldBeginNeedsNoSilence) {
  AgentDecoder decoder(Expect::greeting);
  decoder.feed(agent_greeting("m", "one") + agent_end(1, 1) + agent_greeting("m", "two") +
               agent_end(2, 1));
  EXPECT_EQ(decoder.next()->stream, 1u);
  EXPECT_FALSE(decoder.next());
  EXPECT_TRUE(decoder.begins_anew());
  decoder.restart();
  EXPECT_EQ(decoder.greeting().boot_id, "two");
  EXPECT_EQ(decoder.next()->stream, 2u);
}

}  // namespace
}  // namespace attest::proto
