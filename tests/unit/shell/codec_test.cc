#include "attest/error.h"
#include "lib/proto/shell.h"

#include <gmock/gmock.h>

#include <vector>

namespace attest::proto {
namespace {

const std::string nonce = "0123456789abcdef";

std::string frame(std::string head, std::string payload, std::string id) {
  return nonce + "{" + head + "\n" + payload + "\n" + nonce + "}" + id + "\n";
}

std::string words(const ShellEvent& event) {
  if (std::holds_alternative<ShellBanner>(event)) return "banner";
  if (auto* hello = std::get_if<ShellHello>(&event)) return "hello " + hello->bash_version;
  if (auto* damage = std::get_if<ShellDamage>(&event))
    return "damage " + (damage->id ? std::to_string(*damage->id) : "?");
  auto& reply = std::get<ShellFrame>(event);
  return std::string("frame ") + static_cast<char>(reply.kind) + " " + std::to_string(reply.id) +
         " " + std::to_string(reply.code) + " [" + reply.output + "][" + reply.error_output + "]";
}

std::vector<std::string> decode(const std::vector<std::string>& pieces) {
  ShellDecoder decoder(nonce);
  std::vector<std::string> events;
  for (auto& piece : pieces) {
    decoder.feed(piece);
    while (auto event = decoder.next()) events.push_back(words(*event));
  }
  return events;
}

struct Row {
  const char* name;
  std::string bytes;
  std::vector<std::string> events;
};
class ShellCodec : public ::testing::TestWithParam<Row> {};

TEST_P(ShellCodec, DecodesInOnePiece) { EXPECT_EQ(decode({GetParam().bytes}), GetParam().events); }

TEST_P(ShellCodec, DecodesTheSameSplitAtEveryByte) {
  auto& bytes = GetParam().bytes;
  for (std::size_t at = 1; at < bytes.size(); ++at)
    EXPECT_EQ(decode({bytes.substr(0, at), bytes.substr(at)}), GetParam().events)
        << "split at " << at;
}

TEST_P(ShellCodec, DecodesTheSameByteByByte) {
  std::vector<std::string> pieces;
  for (char c : GetParam().bytes) pieces.emplace_back(1, c);
  EXPECT_EQ(decode(pieces), GetParam().events);
}

const std::string other = "frame r 9 0 [x][]";
const std::string other_frame = frame("9 r 0 1 0", "x", "9");

INSTANTIATE_TEST_SUITE_P(
    , ShellCodec,
    ::testing::Values(
        Row{"empty_output", frame("1 r 0 0 0", "", "1"), {"frame r 1 0 [][]"}},
        Row{"both_streams", frame("2 r 137 3 4", "abcdefg", "2"), {"frame r 2 137 [abc][defg]"}},
        Row{"output_with_line_ends",
            frame("2 r 0 3 2", "\n\n\n\n\n", "2"),
            {"frame r 2 0 [\n\n\n][\n\n]"}},
        Row{"two_frames", frame("1 f 1 1 0", "a", "1") + other_frame, {"frame f 1 1 [a][]", other}},
        Row{"garbage_between_frames",
            "boo\n{}" + other_frame + "0123456789abcde" + other_frame,
            {other, other}},
        Row{"a_wrong_nonce_is_garbage",
            "fedcba9876543210{1 r 0 0 0\n\nfedcba9876543210}1\n" + other_frame,
            {other}},
        Row{"banner",
            "[ 1.0] boot\nSpawning backdoor root shell...\n" + other_frame,
            {"banner", other}},
        Row{"a_banner_in_output_is_output",
            frame("1 r 0 32 0", std::string(shell_banner), "1"),
            {"frame r 1 0 [" + std::string(shell_banner) + "][]"}},
        Row{"hello", nonce + "?5.2.15(1)-release\n", {"hello 5.2.15(1)-release"}},
        Row{"hello_without_bash", nonce + "?\n", {"hello "}},
        Row{"bytes_lost_in_the_payload",
            frame("1 r 0 10 0", "abc", "1") + other_frame,
            {"damage 1", other}},
        Row{"all_payload_lost", frame("1 r 0 10 0", "", "1") + other_frame, {"damage 1", other}},
        Row{"end_lost", nonce + "{1 r 0 3 0\nabc" + other_frame, {"damage 1", other}},
        Row{"payload_and_end_lost", nonce + "{1 r 0 300 0\nabc" + other_frame, {"damage 1", other}},
        Row{"head_lost", "r 0 3 0\nabc\n" + nonce + "}1\n" + other_frame, {"damage 1", other}},
        Row{"head_cut", nonce + "{1 r 0" + other_frame, {"damage ?", other}},
        Row{"bytes_added", frame("1 r 0 3 0", "abcdef", "1") + other_frame, {"damage 1", other}},
        Row{"wrong_id_at_the_end",
            frame("1 r 0 3 0", "abc", "2") + other_frame,
            {"damage 1", "damage 2", other}},
        Row{"hostile_length",
            frame("1 r 0 4294967295 0", "abc", "1") + other_frame,
            {"damage 1", other}},
        Row{"longer_than_64_bits",
            frame("1 r 0 99999999999999999999999 0", "abc", "1") + other_frame,
            {"damage 1", other}},
        Row{"negative_length", frame("1 r 0 -1 0", "abc", "1") + other_frame, {"damage 1", other}},
        Row{"unknown_kind", frame("1 z 0 0 0", "", "1") + other_frame, {"damage 1", other}},
        Row{"unknown_marker", nonce + "!what\n" + other_frame, {"damage ?", other}},
        Row{"no_line_end",
            nonce + "{" + std::string(200, '1') + "\n" + other_frame,
            {"damage ?", other}}),
    [](const auto& row) { return row.param.name; });

TEST(ShellDecoder, KeepsTheLastSkippedBytesForMessages) {
  ShellDecoder decoder;
  decoder.feed(std::string(100'000, 'x') + "login: ");
  EXPECT_FALSE(decoder.next());
  decoder.feed("\n");
  EXPECT_FALSE(decoder.next());
  EXPECT_LE(decoder.skipped().size(), 2048u);
  EXPECT_THAT(decoder.skipped(), ::testing::EndsWith("login: \n"));
}

TEST(ShellDecoder, GivesUpAReplyWhoseEndIsMissingAndReadsOn) {
  ShellDecoder decoder(nonce);
  decoder.feed(nonce + "{7 r 0 100 0\nabc" + std::string(shell_banner));
  EXPECT_FALSE(decoder.next());
  EXPECT_EQ(decoder.unfinished(), 7u);
  EXPECT_EQ(words(*decoder.give_up_unfinished()), "damage 7");
  EXPECT_EQ(words(*decoder.next()), "banner");
}

TEST(ShellLines, RefuseANulByteAndQuoteTheRest) {
  EXPECT_THROW(shell_command(0, 1, std::string("a\0b", 3)), Error);
  EXPECT_EQ(shell_command(3, 17, "echo 'a'\n"), "_at_1 3 17 'echo '\\''a'\\''\n' 17\n");
}

TEST(ShellLines, NeverSendTheNonceInOnePiece) {
  EXPECT_THAT(shell_probe(nonce), ::testing::Not(::testing::HasSubstr(nonce)));
}

}  // namespace
}  // namespace attest::proto
