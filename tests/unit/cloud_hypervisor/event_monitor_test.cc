#include "backends/cloud_hypervisor/event_monitor.h"

#include "attest/error.h"
#include "error_of.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace attest::cloud_hypervisor {
namespace {

using testing::HasSubstr;

// As the monitor writes it: indented, objects one after the other.
constexpr const char* stream =
    "{\n  \"timestamp\": {\n    \"secs\": 0,\n    \"nanos\": 123\n  },\n"
    "  \"source\": \"vmm\",\n  \"event\": \"starting\",\n  \"properties\": null\n}\n\n"
    "{\"timestamp\":{\"secs\":1,\"nanos\":2},\"source\":\"virtio-device\",\"event\":\"activated\","
    "\"properties\":{\"id\":\"_vsock5\"}}\n\n"
    "{\"source\":\"vm\",\"event\":\"rebooting\"}{\"source\":\"guest\",\"event\":\"panic\","
    "\"properties\":{\"brace\":\"}\"}}\n";

std::vector<std::string> read(std::string_view bytes, std::size_t piece) {
  EventReader reader;
  std::vector<std::string> events;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    reader.feed(bytes.substr(at, piece));
    while (auto event = reader.next())
      events.push_back(event->source + "/" + event->event + "/" + event->id);
  }
  return events;
}

TEST(EventMonitorTest, EventsAreTheSameHoweverTheirBytesAreSplit) {
  std::vector<std::string> expected{"vmm/starting/", "virtio-device/activated/_vsock5",
                                    "vm/rebooting/", "guest/panic/"};
  for (std::size_t piece : {1, 2, 3, 7, 64, 4096}) EXPECT_EQ(read(stream, piece), expected);
}

TEST(EventMonitorTest, AnUnfinishedEventIsWaitedFor) {
  EventReader reader;
  reader.feed(R"({"source":"vm","event":"boo)");
  EXPECT_FALSE(reader.next());
  reader.feed(R"(ted"})");
  EXPECT_TRUE(reader.next()->is("vm", "booted"));
  EXPECT_FALSE(reader.next());
}

struct BrokenCase {
  const char* name;
  const char* bytes;
  const char* says;
};
class BrokenEvent : public testing::TestWithParam<BrokenCase> {};
TEST_P(BrokenEvent, IsQuoted) {
  EXPECT_THAT(error_of([] { read(GetParam().bytes, 4096); }), HasSubstr(GetParam().says));
}
INSTANTIATE_TEST_SUITE_P(
    , BrokenEvent,
    testing::Values(BrokenCase{"text", "Error: no\n", "Error: no"},
                    BrokenCase{"list", "[1]", "[1]"}, BrokenCase{"no_json", "{,}", "{,}"},
                    BrokenCase{"no_source", R"({"event":"booted"})", "what is no event"},
                    BrokenCase{"numbers", R"({"source":1,"event":2})", "what is no event"}),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace attest::cloud_hypervisor
