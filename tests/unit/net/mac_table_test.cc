#include "lib/net/switching/mac_table.h"

#include "lib/net/switching/out_queue.h"
#include "tests/unit/net/peer.h"

#include <gmock/gmock.h>

namespace attest::net {
namespace {
using namespace std::chrono_literals;

const MacTable::Time start{};

TEST(MacTable, KnowsWhereAStationWasHeardLast) {
  MacTable table;
  EXPECT_EQ(table.find(7, start), std::nullopt);
  table.learn(7, 1, start);
  EXPECT_EQ(table.find(7, start), 1);
  table.learn(7, 2, start);
  EXPECT_EQ(table.find(7, start), 2);
  EXPECT_EQ(table.size(), 1u);
}

TEST(MacTable, ForgetsASilentStationAfterItsLifetime) {
  MacTable table;
  table.learn(7, 1, start);
  EXPECT_EQ(table.find(7, start + 300s), 1);
  EXPECT_EQ(table.find(7, start + 301s), std::nullopt);
  table.learn(7, 1, start + 200s);
  EXPECT_EQ(table.find(7, start + 500s), 1);
}

TEST(MacTable, GivesTheSilentStationsPlaceAwayWhenFull) {
  MacTable table;
  for (Station station = 0; station < MacTable::capacity; ++station) table.learn(station, 1, start);
  table.learn(0, 1, start + 1s);  // heard again: now station 1 is the oldest
  table.learn(5000, 2, start + 2s);
  EXPECT_EQ(table.size(), MacTable::capacity);
  EXPECT_EQ(table.find(0, start + 2s), 1);
  EXPECT_EQ(table.find(1, start + 2s), std::nullopt);
  EXPECT_EQ(table.find(5000, start + 2s), 2);
}

TEST(MacTable, ForgetsThePortThatIsGone) {
  MacTable table;
  table.learn(1, 1, start);
  table.learn(2, 2, start);
  table.learn(3, 1, start);
  table.forget_port(1);
  EXPECT_EQ(table.find(1, start), std::nullopt);
  EXPECT_EQ(table.find(2, start), 2);
  EXPECT_EQ(table.size(), 1u);
}

TEST(MacTable, IgnoresGroupAddressesAsSenders) {
  MacTable table;
  table.learn(0xffffffffffff, 1, start);
  table.learn(0x010000000001, 1, start);
  EXPECT_EQ(table.size(), 0u);
}

struct HeaderCase {
  const char* name;
  std::string frame;
  std::optional<Addresses> expected;
};
class EthernetHeader : public testing::TestWithParam<HeaderCase> {};

TEST_P(EthernetHeader, TellsTheStations) {
  EXPECT_EQ(read_addresses(GetParam().frame), GetParam().expected);
}

INSTANTIATE_TEST_SUITE_P(
    , EthernetHeader,
    testing::Values(
        HeaderCase{"plain", frame(2, 1, "x"), Addresses{0x525400000002, 0x525400000001}},
        HeaderCase{"tagged", frame(2, 1, "x", 5), Addresses{0x5525400000002, 0x5525400000001}},
        HeaderCase{"broadcast", frame(0xff, 1, ""), Addresses{0xffffffffffff, 0x525400000001}},
        HeaderCase{"priority_bits_are_no_vlan",
                   frame(2, 1, "").substr(0, 12) + std::string("\x81\0\xe0\0\x08\0", 6),
                   Addresses{0x525400000002, 0x525400000001}},
        HeaderCase{"tag_cut_off", frame(2, 1, "").substr(0, 12) + std::string("\x81\0\0", 3),
                   Addresses{0x525400000002, 0x525400000001}},
        HeaderCase{"too_short", std::string(13, 'x'), std::nullopt},
        HeaderCase{"empty", "", std::nullopt}),
    [](const auto& row) { return row.param.name; });

TEST(OutQueue, ReturnsItsBytesInOrder) {
  OutQueue queue;
  std::string in, out;
  for (int i = 1; i < 1000; ++i) {
    std::string framed(static_cast<std::size_t>(i), static_cast<char>('a' + i % 26));
    ASSERT_TRUE(queue.push(framed));
    in += framed;
    if (i % 3 == 0 && !queue.empty()) {
      auto part = queue.front().substr(0, 77);
      out += part;
      queue.pop(part.size());
    }
  }
  while (!queue.empty()) {
    out += queue.front();
    queue.pop(queue.front().size());
  }
  EXPECT_EQ(out, in);
  EXPECT_EQ(queue.size(), 0u);
}

TEST(OutQueue, RefusesWholeFramesAboveItsLimitButTakesTheRestOfOne) {
  OutQueue queue;
  std::string megabyte(1 << 20, 'x');
  while (queue.size() < OutQueue::limit) ASSERT_TRUE(queue.push(megabyte));
  EXPECT_FALSE(queue.push("y"));
  queue.push_rest("z");
  EXPECT_EQ(queue.size(), OutQueue::limit + 1);
  queue.pop(queue.front().size());
  EXPECT_TRUE(queue.push("y"));
}

}  // namespace
}  // namespace attest::net
