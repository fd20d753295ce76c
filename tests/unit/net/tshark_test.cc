// Captures as Wireshark's own reader sees them.
#include "lib/base/file.h"
#include "lib/base/text.h"
#include "lib/net/capture_file.h"

#include <gmock/gmock.h>

#include <cstdlib>

namespace attest::net {
namespace {
using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::chrono_literals;
using namespace std::string_literals;

class Tshark : public testing::Test {
 protected:
  void SetUp() override {
    if (std::system("command -v tshark >/dev/null 2>&1") != 0)
      GTEST_SKIP() << "there is no tshark; on Debian it is in the package tshark";
  }

  // An Ethernet frame between two nodes, of the type that is set aside for experiments.
  static std::string frame(int to, int from, std::size_t payload = 46) {
    auto mac = [](int node) {
      return to_all == node ? std::string(6, '\xff')
                            : "\x52\x54\x00\x12\x01"s + static_cast<char>(node);
    };
    return mac(to) + mac(from) + "\x88\xb5" + std::string(payload, 'x');
  }
  static constexpr int to_all = 0;

  // The lines that tshark prints for the file as it is now; it must not complain.
  std::vector<std::string> read(const std::string& words) {
    auto log = (dir_.path() / "stderr").string(), out = (dir_.path() / "stdout").string();
    auto command = "exec timeout 60 tshark -n -r " + base::shell_quote(path_.string()) + " " +
                   words + " >" + base::shell_quote(out) + " 2>" + base::shell_quote(log);
    EXPECT_EQ(std::system(command.c_str()), 0) << base::read_file(log);
    for (auto& line : base::split(base::read_file(log), '\n')) {
      if (line.starts_with("Running as user")) continue;  // "root: this could be dangerous"
      EXPECT_THAT(line, IsEmpty());
    }
    auto lines = base::split(base::read_file(out), '\n');
    lines.pop_back();
    return lines;
  }

  base::TempDir dir_;
  std::filesystem::path path_ = dir_.path() / "vlan1.pcapng";
  Plan plan_ = make_plan({{"db", {1}}, {"web", {1}}});
  std::chrono::system_clock::time_point at_{1'700'000'000'123'456'789ns};
};

TEST_F(Tshark, ReadsWhatWasWritten) {
  CaptureFile file(path_, plan_, 1);
  auto see = [&](Member from, Member to, const char* fault, const std::string& bytes) {
    file.see({.at = at_, .from = from, .to = to, .frame = bytes, .fault = fault});
    at_ += 1us;
  };
  see(2, to_all, "", frame(to_all, 2));
  see(1, 2, "", frame(2, 1, 1501));
  add_machine(plan_, "late", {1});
  see(3, 1, "partition", frame(1, 3, 47));
  see(test_process_node, 3, "mtu", frame(3, 254, 65'000));
  see(0, 1, "", frame(1, 99));
  file.finish();

  EXPECT_THAT(
      read("-T fields -E separator='|' -e frame.interface_name -e frame.comment -e eth.src "
           "-e eth.dst -e eth.type -e frame.len -e frame.cap_len"),
      ElementsAre(
          "web|web -> all|52:54:00:12:01:02|ff:ff:ff:ff:ff:ff|0x88b5|60|60",
          "db|db -> web|52:54:00:12:01:01|52:54:00:12:01:02|0x88b5|1515|1515",
          "late|late -> db, lost: partition|52:54:00:12:01:03|52:54:00:12:01:01|0x88b5|61|61",
          "(test)|(test) -> late, lost: mtu|52:54:00:12:01:fe|52:54:00:12:01:03|0x88b5|65014|"
          "65014",
          "(unknown)|(unknown) -> db|52:54:00:12:01:63|52:54:00:12:01:01|0x88b5|60|60"));
  EXPECT_THAT(read("-T fields -e frame.time_epoch -c 2"),
              ElementsAre("1700000000.123456789", "1700000000.123457789"));
  EXPECT_THAT(read("-T fields -e frame.interface_description -Y 'frame.interface_name == \"db\"'"),
              ElementsAre("VLAN 1, 192.168.1.1, 52:54:00:12:01:01"));
  EXPECT_THAT(read("-Y 'frame.packet_flags_direction != 1 || !frame.packet_flags_direction'"),
              IsEmpty());
  EXPECT_THAT(read("-Y _ws.malformed"), IsEmpty());
}

TEST_F(Tshark, ReadsAFileWhileItIsWritten) {
  CaptureFile file(path_, plan_, 1);
  EXPECT_THAT(read("-T fields -e frame.comment"), IsEmpty());
  auto bytes = frame(1, 2);
  file.see({.at = at_, .from = 2, .to = 1, .frame = bytes});
  EXPECT_THAT(read("-T fields -e frame.comment"), IsEmpty());
  file.flush();
  EXPECT_THAT(read("-T fields -e frame.comment"), ElementsAre("web -> db"));
}

}  // namespace
}  // namespace attest::net
