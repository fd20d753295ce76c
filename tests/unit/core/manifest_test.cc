#include "lib/core/manifest_json.h"

#include "attest/error.h"
#include "tests/fakes/error_of.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace attest::core {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

Manifest example() {
  return {.machine = "web",
          .backend = "firecracker",
          .monitor = "Firecracker 1.16.1",
          .format = "v11.0.0",
          .cpu = "Some CPU @ 2 GHz",
          .memory_mb = 512,
          .vcpus = 2,
          .saved_at = "2026-11-23T18:30:00Z",
          .ready = Ready::basic,
          .nics = {{.vlan = 1,
                    .mac = "52:54:00:12:01:01",
                    .ipv4 = "192.168.1.1",
                    .ipv6 = "2001:db8:1::1"}},
          .seed = "abc",
          .programs = {{"monitor", {3, "aa"}}, {"kernel", {4, "bb"}}},
          .disks = {{"/images/\"root\".erofs", {5, "cc"}}},
          .files = {{"memory", {1ull << 40, "dd"}}}};
}

TEST(Manifest, IsTheSameAfterWritingAndReading) {
  EXPECT_EQ(parse_manifest(to_json(example()), "/d"), example());
}

std::string refusal(const std::string& text) {
  return error_of(Error::Kind::usage, [&] { parse_manifest(text, "/the/dir"); });
}

std::string with(const std::string& from, const std::string& to) {
  auto text = to_json(example());
  auto at = text.find(from);
  EXPECT_NE(at, text.npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Manifest, ThatIsDamagedIsRefusedWithThePlace) {
  EXPECT_THAT(refusal(""), AllOf(HasSubstr("'/the/dir' is not JSON (0 bytes)")));
  EXPECT_THAT(refusal(to_json(example()).substr(0, 300)), HasSubstr("is not JSON (300 bytes)"));
  EXPECT_THAT(refusal("[]"), HasSubstr("expected an object"));
  EXPECT_THAT(refusal("{}"), HasSubstr("at 'format': it is not there"));
  EXPECT_THAT(refusal(with("\"format\": 1", "\"format\": 2")), HasSubstr("expected 1, got 2"));
  EXPECT_THAT(refusal(with("\"vcpus\": 2", "\"vcpus\": -2")),
              HasSubstr("at 'vcpus': expected a whole number, got -2"));
  EXPECT_THAT(refusal(with("\"vcpus\": 2", "\"vcpus\": 99999999999")), HasSubstr("too large"));
  EXPECT_THAT(refusal(with("\"size\": 3", "\"size\": 3.5")),
              HasSubstr("at 'programs.monitor.size'"));
  EXPECT_THAT(refusal(with("\"ready\": \"basic\"", "\"ready\": \"no\"")),
              HasSubstr("at 'ready': expected agent, basic or multi_user, got 'no'"));
  EXPECT_THAT(refusal(with("\"vlan\": 1", "\"vlan\": \"x\"")), HasSubstr("at 'network[0].vlan'"));
}

TEST(Manifest, OfTheSameMachineHasNoDifferences) {
  EXPECT_THAT(differences(example(), example()), IsEmpty());
}

TEST(Manifest, AClonesOwnPartsAreNoDifferences) {
  auto now = example();
  now.machine = "other";
  now.seed = "else";
  now.nics[0].mac = "52:54:00:12:01:09";
  now.saved_at = "2027-01-01T00:00:00Z";
  now.files.clear();
  EXPECT_THAT(differences(example(), now), IsEmpty());
}

TEST(Manifest, EachDifferenceIsOneSentence) {
  auto now = example();
  now.monitor = "Firecracker 1.17.0";
  now.format = "v12.0.0";
  now.cpu = "Other CPU";
  now.memory_mb = 1024;
  now.vcpus = 1;
  now.nics.clear();
  now.programs["kernel"].checksum = "bc";
  now.disks.clear();
  now.disks["/images/new.erofs"] = {6, "ee"};
  EXPECT_THAT(
      differences(example(), now),
      testing::ElementsAre("monitor: saved with 'Firecracker 1.16.1', here is 'Firecracker 1.17.0'",
                           "snapshot format: saved with 'v11.0.0', here is 'v12.0.0'",
                           "CPU: saved with 'Some CPU @ 2 GHz', here is 'Other CPU'",
                           "memory_mb: saved with '512', here is '1024'",
                           "vcpus: saved with '2', here is '1'",
                           "number of network cards: saved with '1', here is '0'",
                           "program 'kernel': saved with 4 bytes, bb, here is 4 bytes, bc",
                           "disk '/images/\"root\".erofs': saved with one, here is none",
                           "disk '/images/new.erofs': saved without, here is one"));
}

}  // namespace
}  // namespace attest::core
