#include "lib/proto/qmp_codec.h"

#include "attest/error.h"
#include "tests/fakes/error_of.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace attest::proto {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> drain(JsonSplitter& splitter) {
  std::vector<std::string> objects;
  while (auto object = splitter.next()) objects.push_back(*object);
  return objects;
}

TEST(JsonSplitterTest, GivesNothingForNothing) {
  JsonSplitter splitter;
  EXPECT_THAT(drain(splitter), IsEmpty());
  splitter.feed(" \r\n\t");
  EXPECT_THAT(drain(splitter), IsEmpty());
}

TEST(JsonSplitterTest, SeparatesSeveralObjectsInOneRead) {
  JsonSplitter splitter;
  splitter.feed("{\"a\":1}\r\n{\"b\":[{},{}]}{}\r\n{\"c");
  EXPECT_THAT(drain(splitter), ElementsAre("{\"a\":1}", "{\"b\":[{},{}]}", "{}"));
  splitter.feed("\":3}");
  EXPECT_THAT(drain(splitter), ElementsAre("{\"c\":3}"));
}

TEST(JsonSplitterTest, JoinsAnObjectThatComesByteByByte) {
  const std::string object = R"({"text":"} \" \\","list":["]",{"x":"{"}]})";
  JsonSplitter splitter;
  std::vector<std::string> seen;
  for (char byte : object + "\r\n" + object) {
    splitter.feed({&byte, 1});
    for (auto& whole : drain(splitter)) seen.push_back(whole);
  }
  EXPECT_THAT(seen, ElementsAre(object, object));
}

TEST(JsonSplitterTest, RefusesGarbageBetweenObjects) {
  JsonSplitter splitter;
  splitter.feed("{}\nqemu: hello");
  EXPECT_EQ(splitter.next(), "{}");
  EXPECT_THAT(error_of(Error::Kind::protocol, [&] { splitter.next(); }),
              HasSubstr("got: 'qemu: hello'"));
}

TEST(JsonSplitterTest, RefusesAnObjectAboveItsLimit) {
  JsonSplitter splitter(1000);
  splitter.feed("{\"x\":\"" + std::string(990, 'x'));
  EXPECT_EQ(splitter.next(), std::nullopt);
  splitter.feed("xxxxxxxxxxxxxx");
  EXPECT_THAT(error_of(Error::Kind::protocol, [&] { splitter.next(); }),
              HasSubstr("more than 1000 bytes"));
}

TEST(JsonSplitterTest, RefusesEndlessNesting) {
  JsonSplitter splitter;
  splitter.feed("{\"x\":" + std::string(5000, '['));
  EXPECT_THAT(error_of(Error::Kind::protocol, [&] { splitter.next(); }),
              HasSubstr("nested too deeply"));
}

struct MessageCase {
  const char* name;
  std::string_view json;
  QmpMessage::Kind kind;
  std::optional<std::uint64_t> id;
  const char* label;
  const char* text;
};

class QmpMessageParsing : public testing::TestWithParam<MessageCase> {};

TEST_P(QmpMessageParsing, UnderstandsWhatQemuSends) {
  auto message = parse_qmp(GetParam().json);
  EXPECT_EQ(message.kind, GetParam().kind);
  EXPECT_EQ(message.id, GetParam().id);
  EXPECT_EQ(message.name, GetParam().label);
  EXPECT_EQ(message.text, GetParam().text);
}

using Kind = QmpMessage::Kind;
INSTANTIATE_TEST_SUITE_P(
    , QmpMessageParsing,
    testing::Values(
        MessageCase{"greeting",
                    R"({"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7},
                        "package": "Debian"}, "capabilities": ["oob"]}})",
                    Kind::greeting, std::nullopt, "7.2.22", ""},
        MessageCase{"greeting_without_version", R"({"QMP": {}})", Kind::greeting, std::nullopt,
                    "?.?.?", ""},
        MessageCase{"empty_reply", R"({"return": {}, "id": 7})", Kind::reply, 7, "", "{}"},
        MessageCase{"text_reply", R"({"return": "a\nb", "id": 8})", Kind::reply, 8, "",
                    R"("a\nb")"},
        MessageCase{"reply_to_nobody", R"({"return": {}})", Kind::reply, std::nullopt, "", "{}"},
        MessageCase{"foreign_id", R"({"return": {}, "id": "x"})", Kind::reply, std::nullopt, "",
                    "{}"},
        MessageCase{"giant_id", R"({"return": {}, "id": 99999999999999999999999})", Kind::reply,
                    std::nullopt, "", "{}"},
        MessageCase{"error", R"({"id": 1, "error": {"class": "DeviceNotFound", "desc": "no 'x'"}})",
                    Kind::error, 1, "DeviceNotFound", "no 'x'"},
        MessageCase{"error_without_members", R"({"error": {}})", Kind::error, std::nullopt, "", ""},
        MessageCase{
            "event",
            R"({"timestamp": {"seconds": 1}, "event": "SHUTDOWN", "data": {"guest": true}})",
            Kind::event, std::nullopt, "SHUTDOWN", R"({"guest":true})"},
        MessageCase{"event_without_data", R"({"event": "RESET"})", Kind::event, std::nullopt,
                    "RESET", "{}"}),
    [](const auto& row) { return row.param.name; });

class QmpGarbage : public testing::TestWithParam<std::string> {};

TEST_P(QmpGarbage, IsAProtocolErrorThatQuotesIt) {
  std::string text = error_of(Error::Kind::protocol, [] { parse_qmp(GetParam()); });
  EXPECT_THAT(text, HasSubstr("QMP: "));
  EXPECT_THAT(text, HasSubstr(GetParam().substr(0, 10)));
}

INSTANTIATE_TEST_SUITE_P(, QmpGarbage,
                         testing::Values("", "[]", "42", "{\"return\"", "{\"hello\": 1}",
                                         "{\"event\": 3}", "{\"error\": \"x\"}",
                                         "{\"return\": 1e99999}", "{'a': 1}"));

TEST(QmpCommand, CarriesItsArgumentsAndItsId) {
  EXPECT_EQ(qmp_command("stop", "", 3), "{\"execute\":\"stop\",\"id\":3}\n");
  EXPECT_EQ(qmp_command("set_link", R"({ "up": false })", 4),
            "{\"arguments\":{\"up\":false},\"execute\":\"set_link\",\"id\":4}\n");
}

TEST(QmpCommand, RefusesArgumentsThatAreNoObject) {
  for (std::string arguments : {"[]", "{", "up=false"}) {
    try {
      qmp_command("stop", arguments, 1);
      FAIL() << arguments;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::usage);
      EXPECT_THAT(error.what(), HasSubstr(arguments));
    }
  }
}

TEST(QmpShutdownData, ReadsItsReason) {
  auto shutdown = parse_shutdown(R"({"guest": true, "reason": "guest-reset"})");
  EXPECT_TRUE(shutdown.guest);
  EXPECT_EQ(shutdown.reason, "guest-reset");
  EXPECT_EQ(parse_shutdown("{}").reason, "");
  EXPECT_THROW(parse_shutdown("[]"), Error);
}

}  // namespace
}  // namespace attest::proto
