// copy.{in,out}_vs_channel: 100 MB by copy_from_host() and copy_from_machine(), against the same
// bytes through a virtio port of the same guest into and out of a file there, by a loop of read
// and write, in turn. copy.raw_{in,out}: the port alone, without a file at either end.
// copy.rss_growth_mb: what the test process grows by meanwhile.
#include "bench.h"
#include "guest_peer.h"

#include <attest/sandbox.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

constexpr std::size_t size = 100'000'000;

double peak_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
  return 0;
}

// Bytes without pattern and without holes.
void make_file(const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  std::vector<std::uint64_t> block(8192);
  std::uint64_t state = 88172645463325252u;
  for (std::size_t left = size; left > 0;) {
    for (auto& word : block) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      word = state;
    }
    auto piece = std::min(left, block.size() * sizeof block[0]);
    file.write(reinterpret_cast<const char*>(block.data()), static_cast<std::streamsize>(piece));
    left -= piece;
  }
}

}  // namespace

int main(int argc, char** argv) {
  auto sandbox = attest::enter_sandbox();
  auto dir = std::filesystem::temp_directory_path() / "attest-bench-copy";
  std::filesystem::create_directories(dir);
  const auto file = dir / "data";
  std::filesystem::path back;
  make_file(file);
  bench::GuestPeer guest(sandbox.work_dir, 768);
  guest.start();
  int count = bench::samples(argc, argv, 5);
  std::vector<double> in, out, channel_in, channel_out, raw_in, raw_out;
  auto& machine = guest.machine();
  guest.transfer_ms('i', 1 << 20);
  double before = peak_mb();
  for (int i = 0; i < count; ++i) {
    raw_in.push_back(guest.transfer_ms('i', size));
    channel_in.push_back(guest.transfer_ms('I', size));
    in.push_back(bench::time_ms([&] { machine.copy_from_host(file, "/run/bench/data"); }));
    raw_out.push_back(guest.transfer_ms('o', size));
    channel_out.push_back(guest.transfer_ms('O', size));
    guest.ask('F');
    out.push_back(bench::time_ms([&] { back = machine.copy_from_machine("/run/bench/data"); }));
    if (std::filesystem::file_size(back) != size) return 1;
    std::filesystem::remove(back);
    machine.succeed("rm /run/bench/data");
  }
  double growth = peak_mb() - before;
  std::filesystem::remove_all(dir);
  std::filesystem::remove(back.parent_path());  // unless there is more in it
  auto rate = [](double ms) { return size / ms / 1000; };
  double a = bench::median(channel_in), b = bench::median(in);
  double c = bench::median(channel_out), d = bench::median(out);
  return bench::print(
      {{"copy.raw_in", rate(bench::median(raw_in)), "MB/s", count, "virtio port, bytes dropped"},
       {"copy.raw_out", rate(bench::median(raw_out)), "MB/s", count, "virtio port, no file"},
       {"copy.channel_in", rate(a), "MB/s", count, "virtio port into a file in memory"},
       {"copy.in", rate(b), "MB/s", count, "copy_from_host, into a tmpfs"},
       {"copy.in_vs_channel", a / b, "ratio", count, "goal >= 0.7"},
       {"copy.channel_out", rate(c), "MB/s", count, "the file through a virtio port"},
       {"copy.out", rate(d), "MB/s", count, "copy_from_machine, to the host's disk"},
       {"copy.out_vs_channel", c / d, "ratio", count, "goal >= 0.7"},
       {"copy.rss_growth_mb", growth, "MB", count, "goal < 8"}},
      argc, argv);
}
