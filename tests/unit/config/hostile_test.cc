#include "attest/config.h"
#include "lib/core/config_json.h"
#include "tests/unit/config/message.h"

#include <gmock/gmock.h>

namespace attest {
namespace {

using core::config::most_depth;
using core::config::most_text;

std::string repeat(const std::string& part, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < times; ++i) text += part;
  return text;
}

TEST(Hostile, DeepNestingIsRefused) {
  EXPECT_THAT(message_of([] { Config::from_json(repeat("[", most_text)); }),
              testing::EndsWith("lists and objects are nested more than 32 levels deep"));
  EXPECT_THAT(message_of([] { Config::from_json(repeat(R"({"a":)", most_text / 5)); }),
              testing::EndsWith("lists and objects are nested more than 32 levels deep"));
}

TEST(Hostile, NestingUpToTheLimitIsReadAsJson) {
  EXPECT_EQ(
      message_of([] { Config::from_json(repeat("[", most_depth) + repeat("]", most_depth)); }),
      "config: expected an object, got a list");
}

TEST(Hostile, LongTextIsRefused) {
  EXPECT_EQ(message_of([] { Config::from_json(std::string(most_text + 1, ' ')); }),
            "a config of more than 4 MiB is not read");
}

TEST(Hostile, MessagesStayShort) {
  const std::string long_text(most_text / 16, 'x');
  for (auto& json :
       {"{\"" + long_text + "\":1}", "{\"name\":1" + long_text,
        "{\"vlans\":[\"" + long_text + "\"]}", "{\"machines\":{\"" + long_text + "\":{}}}",
        "{\"vlans\":[1" + repeat("0", most_text / 16) + "]}",
        "{\"name\":{\"" + long_text + "\":1,\"" + long_text + "\":2}}"})
    EXPECT_LT(message_of([&] { Config::from_json(json); }).size(), 500u);
}

TEST(Hostile, MessagesAreSafeForATerminal) {
  auto message =
      message_of([] { Config::from_json(R"({"vlans":["\u001b[2J\u001b]0;x\u0007"]})"); });
  EXPECT_EQ(message.find('\033'), message.npos) << message;
}

TEST(Hostile, EveryPrefixOfAConfigIsRefused) {
  Config config;
  config.machines["web"].disks = {{.path = "/d"}};
  auto text = config.to_json();
  while (text.back() != '}') text.pop_back();
  for (std::size_t length = 0; length < text.size(); ++length)
    EXPECT_THAT(message_of([&] { Config::from_json(text.substr(0, length)); }),
                testing::StartsWith("not valid JSON at line "));
}

}  // namespace
}  // namespace attest
