#include "attest/config.h"
#include "lib/core/config_json.h"
#include "tests/unit/config/message.h"

#include <gmock/gmock.h>

#include <functional>

namespace attest {
namespace {

using core::config::Json;

Json schema() { return core::config::parse_json(config_schema()); }

// The schema of an object behind lists, maps and shorthands; null if there is none.
const Json* object_in(const Json& schema) {
  if (schema.contains("properties")) return &schema;
  if (schema.contains("anyOf")) return object_in(schema["anyOf"].back());
  if (schema.contains("items")) return object_in(schema["items"]);
  if (schema.contains("additionalProperties") && schema["additionalProperties"].is_object())
    return object_in(schema["additionalProperties"]);
  return nullptr;
}

// JSON text that puts `inner` where the property stands, inside its list or map.
std::string wrapped(const Json& schema, const std::string& inner) {
  if (schema.contains("items")) return "[" + inner + "]";
  if (schema["type"] == "object" && !schema.contains("properties")) return "{\"x\":" + inner + "}";
  return inner;
}

// Calls visit(object's schema, text made of an object's text) for each object in the schema.
using Frame = std::function<std::string(const std::string&)>;
void each_object(const Json& schema, const Frame& frame,
                 const std::function<void(const Json&, const Frame&)>& visit) {
  visit(schema, frame);
  for (auto& [key, property] : schema["properties"].items()) {
    auto inner = object_in(property);
    if (!inner) continue;
    each_object(
        *inner,
        [&](const std::string& text) {
          return frame("{\"" + key + "\":" + wrapped(property, text) + "}");
        },
        visit);
  }
}

void each_object(const std::function<void(const Json&, const Frame&)>& visit) {
  each_object(schema(), [](const std::string& text) { return text; }, visit);
}

TEST(Schema, NamesItsDialect) {
  EXPECT_EQ(schema()["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

TEST(Schema, CoversEveryObject) {
  int objects = 0;
  each_object([&](const Json& object, const Frame&) {
    ++objects;
    EXPECT_EQ(object["additionalProperties"], false) << object.dump(2);
    for (auto& [key, property] : object["properties"].items())
      EXPECT_NE(property.value("description", ""), "") << key;
  });
  // Config, network, Timeouts, MachineConfig, disk, mount, file, qemu, loopback, nspawn, ssh;
  // firecracker and cloud_hypervisor, each with two rates, a balloon and pmem
  EXPECT_EQ(objects, 21);
}

// A key of the schema is known to the reader, whatever else it says about a null there.
TEST(Schema, HasOnlyKeysThatTheReaderTakes) {
  each_object([&](const Json& object, const Frame& frame) {
    for (auto& [key, property] : object["properties"].items()) {
      auto message = message_of([&] { Config::from_json(frame("{\"" + key + "\":null}")); });
      EXPECT_THAT(message, testing::HasSubstr(key + ": expected ")) << frame("...");
      EXPECT_THAT(message, testing::Not(testing::HasSubstr("unknown key")));
    }
  });
}

// The reader lists its keys for a key that is like none of them.
TEST(Schema, HasAllKeysThatTheReaderTakes) {
  each_object([&](const Json& object, const Frame& frame) {
    auto message = message_of([&] { Config::from_json(frame(R"({"~~~~~~~~":null})")); });
    std::string listed = message.substr(std::min(message.find("valid keys: "), message.size()));
    std::size_t count = 1;
    for (char c : listed) count += c == ',';
    EXPECT_EQ(count, object["properties"].size()) << message;
    for (auto& [key, property] : object["properties"].items())
      EXPECT_THAT(listed, testing::ContainsRegex("[ ]" + key + "(,|$)"));
  });
}

// Every default, written out, reads as what leaving the key out gives; required keys have none.
TEST(Schema, HasTheDefaultsOfTheStructs) {
  int defaults = 0;
  each_object([&](const Json& object, const Frame& frame) {
    std::string needed;
    for (auto& key : object.value("required", Json::array())) needed += key.dump() + ":\"/x\",";
    auto with = [&](const std::string& more) {
      std::string members = needed + more;
      if (members.ends_with(',')) members.pop_back();
      return Config::from_json(frame("{" + members + "}"));
    };
    for (auto& [key, property] : object["properties"].items()) {
      bool is_required = needed.find("\"" + key + "\":") != needed.npos;
      bool is_object = property.contains("properties");
      EXPECT_EQ(property.contains("default"), !is_required && !is_object) << key;
      if (!property.contains("default")) continue;
      ++defaults;
      EXPECT_EQ(with("\"" + key + "\":" + property["default"].dump()), with("")) << key;
    }
  });
  EXPECT_GT(defaults, 30);
}

TEST(Schema, HasTheRangesOfTheReader) {
  each_object([&](const Json& object, const Frame& frame) {
    for (auto& [key, property] : object["properties"].items()) {
      if (property["type"] != "integer") continue;
      auto low = property["minimum"].get<std::int64_t>(),
           high = property["maximum"].get<std::int64_t>();
      auto message = [&](std::int64_t n) {
        return message_of(
            [&] { Config::from_json(frame("{\"" + key + "\":" + std::to_string(n) + "}")); });
      };
      EXPECT_EQ(message(low), "(no error)");
      EXPECT_EQ(message(high), "(no error)");
      EXPECT_THAT(message(low - 1), testing::HasSubstr(key + ": expected "));
      EXPECT_THAT(message(high + 1), testing::HasSubstr(key + ": expected "));
    }
  });
}

}  // namespace
}  // namespace attest
