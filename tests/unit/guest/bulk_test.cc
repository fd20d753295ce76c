// Much at once over attest-agent: bounded memory, and nobody waits for a slow neighbour.
#include "lib/base/file.h"
#include "lib/guest/host_tree.h"
#include "tests/unit/shell/peer.h"

#include <unistd.h>

#include <fstream>

namespace attest::guest {
namespace {

// The address sanitizer keeps what was freed, up to 256 MiB of it, and as much again around it.
#ifdef __SANITIZE_ADDRESS__
constexpr long growth_limit_kb = 800 << 10;
#else
constexpr long growth_limit_kb = 8 << 10;
#endif

class Bulk : public ::testing::Test {
 protected:
  static long resident_kb() {
    std::ifstream file("/proc/self/statm");
    long total = 0, resident = 0;
    file >> total >> resident;
    return resident * (::sysconf(_SC_PAGESIZE) / 1024);
  }
  std::unique_ptr<Process> spawn(std::string shell) {
    Command command{.shell = std::move(shell), .argv = {}};
    return peer.loop.run(peer.guest->spawn(command, in(20s)));
  }
  Peer peer{{"agent", "bash", false, "", true}};
};

Task<std::uint64_t> count(Process* process) {
  std::uint64_t bytes = 0;
  while (auto chunk = co_await process->read()) bytes += chunk->bytes.size();
  co_return bytes;
}

TEST_F(Bulk, TwoGigabytesOfOutputNeedNoMemory) {
  peer.sh("true");
  auto before = resident_kb();
  auto process = spawn("head -c 2G /dev/zero");
  auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(peer.loop.run(count(process.get())), 2ull << 30);
  auto span = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  RecordProperty("mb_per_s", static_cast<int>(2048 / span));
  EXPECT_LT(resident_kb() - before, growth_limit_kb);
}

TEST_F(Bulk, AHundredMegabytesGoInAndOutWithoutMemory) {
  base::TempDir folder("attest-bulk-");
  const auto from = (folder.path() / "from").string(), back = (folder.path() / "back").string();
  {
    std::ofstream file(from);
    std::string block(1 << 20, '\0');
    for (int i = 0; i < 100; ++i) {
      for (std::size_t j = 0; j < block.size(); j += 64) block[j] = static_cast<char>(i + 1);
      file << block;
    }
  }
  peer.sh("true");
  auto before = resident_kb();
  auto tree = read_tree(from);
  peer.loop.run(peer.guest->send_tree(*tree, "/tmp/there", in(120s)));
  {
    auto sink = write_tree(back);
    peer.loop.run(peer.guest->fetch_tree("/tmp/there", *sink, in(120s)));
  }
  EXPECT_LT(resident_kb() - before, growth_limit_kb);
  auto same = [](std::string a, std::string b) { return base::read_file(a) == base::read_file(b); };
  EXPECT_TRUE(same(from, back));
}

TEST_F(Bulk, ASlowReaderStopsOnlyItsOwnCommand) {
  auto slow = spawn("head -c 20000000 /dev/zero; echo done >/tmp/done");
  EXPECT_EQ(peer.sh("head -c 5000000 /dev/zero").output.size(), 5'000'000u);
  EXPECT_EQ(peer.sh("test -e /tmp/done").exit_code, 1);
  EXPECT_EQ(peer.loop.run(count(slow.get())), 20'000'000u);
}

TEST_F(Bulk, ManyCommandsRunAtOnce) {
  std::vector<std::unique_ptr<Process>> all;
  for (int i = 0; i < 40; ++i) all.push_back(spawn("sleep 0.5; echo " + std::to_string(i)));
  for (int i = 0; i < 40; ++i) {
    auto chunk = peer.loop.run(all[static_cast<std::size_t>(i)]->read());
    EXPECT_EQ(chunk->bytes, std::to_string(i) + "\n");
  }
}

}  // namespace
}  // namespace attest::guest
