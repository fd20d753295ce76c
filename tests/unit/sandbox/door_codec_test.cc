#include "lib/sandbox/door_codec.h"

#include <gtest/gtest.h>

#include <random>

namespace attest::sandbox {
namespace {

TEST(DoorCodec, RequestsSurviveTheTrip) {
  for (const DoorRequest& request :
       {DoorRequest{DoorCall::dial, 22, 1500, "example.org"},
        DoorRequest{DoorCall::listen, 65535, 0xffffffff, "::1"},
        DoorRequest{DoorCall::ssh_agent, 0, 0, ""}, DoorRequest{DoorCall::run, 0, 1, "cat | cat"},
        DoorRequest{DoorCall::sweep_cgroup, 0, 1, "/sys/fs/cgroup/x"},
        DoorRequest{DoorCall::dial, 1, 1, std::string(max_text, 'h')}})
    EXPECT_EQ(decode_request(encode(request)), request);
}

TEST(DoorCodec, RepliesSurviveTheTrip) {
  for (const DoorReply& reply :
       {DoorReply{"", 40000}, DoorReply{"no such host", 0}, DoorReply{"two\nlines", 7}})
    EXPECT_EQ(decode_reply(encode(reply)), reply);
}

TEST(DoorCodec, CutsAnErrorThatIsTooLong) {
  auto reply = decode_reply(encode(DoorReply{std::string(5000, 'x'), 0}));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error, std::string(max_text, 'x'));
}

TEST(DoorCodec, NoMessageIsLongerThanItsLimit) {
  EXPECT_LE(encode(DoorRequest{DoorCall::dial, 1, 1, std::string(5000, 'x')}).size(), max_message);
  EXPECT_LE(encode(DoorReply{std::string(5000, 'x'), 0}).size(), max_message);
}

struct BadCase {
  const char* name;
  std::string bytes;
};
class DoorCodecRefuses : public ::testing::TestWithParam<BadCase> {};

TEST_P(DoorCodecRefuses, ARequest) { EXPECT_EQ(decode_request(GetParam().bytes), std::nullopt); }
TEST_P(DoorCodecRefuses, AReply) { EXPECT_EQ(decode_reply(GetParam().bytes), std::nullopt); }

std::string bytes(std::initializer_list<int> values) {
  std::string text;
  for (int value : values) text.push_back(static_cast<char>(value));
  return text;
}

INSTANTIATE_TEST_SUITE_P(
    , DoorCodecRefuses,
    ::testing::Values(
        BadCase{"nothing", ""}, BadCase{"only_the_request_letter", "Q"},
        BadCase{"only_the_reply_letter", "A"},
        BadCase{"another_letter", bytes({'X', 1, 0, 22, 0, 0, 0, 1, 0, 0})},
        BadCase{"no_such_call", bytes({'Q', 6, 0, 22, 0, 0, 0, 1, 0, 0})},
        BadCase{"call_zero", bytes({'Q', 0, 0, 22, 0, 0, 0, 1, 0, 0})},
        BadCase{"request_text_longer_than_the_packet",
                bytes({'Q', 1, 0, 22, 0, 0, 0, 1, 255, 255, 'a'})},
        BadCase{"request_text_shorter_than_the_packet",
                bytes({'Q', 1, 0, 22, 0, 0, 0, 1, 0, 0, 'a'})},
        BadCase{"request_with_a_nul", bytes({'Q', 1, 0, 22, 0, 0, 0, 1, 0, 2, 'a', 0})},
        BadCase{"reply_text_longer_than_the_packet", bytes({'A', 0, 22, 255, 255, 'a'})},
        BadCase{"reply_text_shorter_than_the_packet", bytes({'A', 0, 22, 0, 0, 'a'})},
        BadCase{"reply_with_a_nul", bytes({'A', 0, 22, 0, 1, 0})},
        BadCase{"text_over_the_limit", bytes({'A', 0, 0, 0x10, 0x01}) + std::string(4097, 'x')}),
    [](const auto& row) { return row.param.name; });

TEST(DoorCodec, AcceptsNothingThatItWouldNotWriteItself) {
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    std::string message = encode(DoorRequest{DoorCall::dial, 22, 1500, "example.org"});
    if (round % 2) message = encode(DoorReply{"refused", 22});
    for (int change = 0; change < 3; ++change)
      message[random() % message.size()] = static_cast<char>(random());
    message.resize(random() % (message.size() + 2));
    if (auto request = decode_request(message)) {
      EXPECT_EQ(encode(*request), message);
    }
    if (auto reply = decode_reply(message)) {
      EXPECT_EQ(encode(*reply), message);
    }
  }
}

}  // namespace
}  // namespace attest::sandbox
