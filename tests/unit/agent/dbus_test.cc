// D-Bus as bytes: calls as systemd takes them, messages as it sends them, and what nobody sends.
#include "guest/agent/dbus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace attest::agent::dbus {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A value in words: s"text", [items].
std::string words(const Value& value) {
  if (value.type != 'a' && value.type != '(' && value.type != '{') return value.text;
  std::string text = value.text;
  for (auto& item : value.items) text += (text.empty() ? "" : " ") + words(item);
  return "[" + text + "]";
}

struct ValueCase {
  const char* name;
  std::string signature, bytes, expected;  // "" is broken
};
class DbusValue : public ::testing::TestWithParam<ValueCase> {};

TEST_P(DbusValue, IsReadOrRefused) {
  auto values = decode(GetParam().signature, GetParam().bytes, false);
  std::string found;
  if (values)
    for (auto& value : *values) found += (found.empty() ? "" : ",") + words(value);
  EXPECT_EQ(found, GetParam().expected);
}

INSTANTIATE_TEST_SUITE_P(
    , DbusValue,
    ::testing::Values(
        ValueCase{"numbers", "ynqiu", "\xff\0\xff\xff\xff\xff\0\0\xff\xff\xff\xff\xff\xff\xff\xff"s,
                  "255,-1,65535,-1,4294967295"},
        ValueCase{"long_numbers", "xt",
                  "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"s,
                  "-1,18446744073709551615"},
        ValueCase{"text", "so", "\2\0\0\0hi\0\0\1\0\0\0/\0"s, "hi,/"},
        ValueCase{"boolean", "b", "\1\0\0\0"s, "1"},
        ValueCase{"struct", "(uo)", "\7\0\0\0\1\0\0\0/\0"s, "[7 /]"},
        ValueCase{"variant", "v", "\1s\0\0\2\0\0\0hi\0"s, "hi"},
        ValueCase{"dictionary", "a{sv}", "\12\0\0\0\0\0\0\0\1\0\0\0k\0\1y\0\5"s, "[[k 5]]"},
        ValueCase{"bytes", "ay", "\3\0\0\0abc"s, "[abc]"},
        ValueCase{"empty_array", "at", "\0\0\0\0\0\0\0\0"s, "[]"},
        ValueCase{"nothing_left_over", "y", "\1\2"s, ""}, ValueCase{"too_short", "u", "\1\2"s, ""},
        ValueCase{"text_without_end", "s", "\2\0\0\0hi"s, ""},
        ValueCase{"text_beyond_the_end", "s", "\xff\xff\xff\xff"s, ""},
        ValueCase{"array_beyond_the_end", "ay", "\xff\xff\xff\xff"s, ""},
        ValueCase{"array_with_a_rest", "au", "\5\0\0\0\1\0\0\0\2"s, ""},
        ValueCase{"variant_of_two", "v", "\2yy\0\1\2"s, ""},
        ValueCase{"variant_of_nothing", "v", "\0\0"s, ""},
        ValueCase{"empty_struct", "()", "\0\0\0\0\0\0\0\0"s, ""},
        ValueCase{"open_struct", "(u", "\0\0\0\0"s, ""}, ValueCase{"unknown_type", "z", "\0"s, ""},
        ValueCase{"array_of_nothing", "a", "\0\0\0\0"s, ""},
        ValueCase{"too_deep", std::string(200, 'a') + "y", std::string(1600, '\0'), ""},
        ValueCase{"too_deep_structs", std::string(200, '(') + "y" + std::string(200, ')'),
                  std::string(8, '\0'), ""}),
    [](const auto& row) { return row.param.name; });

TEST(DbusCall, IsAsTheSpecificationHasIt) {
  auto bytes = encode_call(3, "", "/a", "b.c", "Go", {"x"});
  EXPECT_EQ(bytes,
            "l\1\0\1\6\0\0\0\3\0\0\0\67\0\0\0"
            "\1\1o\0\2\0\0\0/a\0\0\0\0\0\0"
            "\2\1s\0\3\0\0\0b.c\0\0\0\0\0"
            "\3\1s\0\2\0\0\0Go\0\0\0\0\0\0"
            "\10\1g\0\1s\0\0"
            "\1\0\0\0x\0"s);
}

TEST(DbusCall, ComesOutOfADecoderAsItWentIn) {
  Decoder decoder;
  decoder.feed("OK 0123\r\n" + encode_call(9, "d.e", "/path", "i.f", "Member", {"one", ""}));
  auto message = decoder.next();
  ASSERT_TRUE(message) << decoder.broken();
  EXPECT_EQ(message->serial, 9u);
  EXPECT_EQ(message->path, "/path");
  EXPECT_EQ(message->interface, "i.f");
  EXPECT_EQ(message->member, "Member");
  EXPECT_EQ(message->text(0), "one");
  EXPECT_EQ(message->text(1), "");
  EXPECT_EQ(message->text(2), "");
}

TEST(DbusHello, NamesTheUid) { EXPECT_EQ(hello(1000), "\0AUTH EXTERNAL 31303030\r\nBEGIN\r\n"s); }

// A signal of systemd 252, by its bytes: JobRemoved(uoss), little-endian.
const std::string job_removed =
    "l\4\1\1\x49\0\0\0\2\0\0\0\x5a\0\0\0"
    "\1\1o\0\x19\0\0\0/org/freedesktop/systemd1\0\0\0\0\0\0\0"
    "\2\1s\0\3\0\0\0i.f\0\0\0\0\0"
    "\3\1s\0\12\0\0\0JobRemoved\0\0\0\0\0\0"
    "\10\1g\0\4uoss\0\0\0\0\0\0\0"
    "\7\0\0\0\x23\0\0\0/org/freedesktop/systemd1/job/12345\0"
    "\r\0\0\0nginx.service\0\0\0\4\0\0\0done\0"s;

std::vector<std::string> read_all(std::string_view bytes, std::size_t cut) {
  Decoder decoder;
  std::vector<std::string> found;
  while (!bytes.empty()) {
    decoder.feed(bytes.substr(0, cut));
    bytes.remove_prefix(std::min(cut, bytes.size()));
    while (auto message = decoder.next())
      found.push_back(message->member + " " + std::string(message->text(2)) + " " +
                      std::string(message->text(3)));
  }
  if (!decoder.broken().empty()) found.push_back("broken: " + decoder.broken());
  return found;
}

TEST(DbusDecoder, TakesMessagesHoweverTheyAreCut) {
  auto bytes = "OK 12ab\r\n" + job_removed + job_removed;
  for (std::size_t cut = 1; cut <= bytes.size(); ++cut) {
    EXPECT_THAT(read_all(bytes, cut),
                ElementsAre("JobRemoved nginx.service done", "JobRemoved nginx.service done"));
  }
}

TEST(DbusDecoder, WaitsForARest) {
  auto bytes = "OK 12ab\r\n" + job_removed;
  EXPECT_THAT(read_all(bytes.substr(0, bytes.size() - 1), 4096), ElementsAre());
}

TEST(DbusDecoder, BreaksWithWords) {
  EXPECT_THAT(read_all("REJECTED EXTERNAL\r\n", 1),
              ElementsAre("broken: authentication was refused: REJECTED EXTERNAL"));
  EXPECT_THAT(read_all(std::string(5000, 'x'), 1000), ElementsAre(HasSubstr("no answer")));
  EXPECT_THAT(read_all("OK\r\n" + std::string(16, 'x'), 7), ElementsAre(HasSubstr("begin no")));
  auto huge = job_removed;
  huge[7] = '\x7f';
  EXPECT_THAT(read_all("OK\r\n" + huge, 99), ElementsAre(HasSubstr("over the limit")));
  auto damaged = job_removed;
  damaged[16] = 0;  // a field's padding and type move
  damaged[17] = 0;
  EXPECT_THAT(read_all("OK\r\n" + damaged, 99), ElementsAre(HasSubstr("header is broken")));
}

TEST(DbusFind, LooksUpADictionarysValue) {
  auto values = decode("a{sv}", "\12\0\0\0\0\0\0\0\1\0\0\0k\0\1y\0\5"s, false);
  ASSERT_TRUE(values);
  ASSERT_TRUE(find((*values)[0], "k"));
  EXPECT_EQ(find((*values)[0], "k")->text, "5");
  EXPECT_FALSE(find((*values)[0], "x"));
}

}  // namespace
}  // namespace attest::agent::dbus
