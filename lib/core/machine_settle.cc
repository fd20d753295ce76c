// Machine: what a guest must be told that did not boot but goes on from a snapshot. It still has
// the name, the addresses, the time and the random numbers of the moment at which it was saved.
#include "lib/async/within.h"
#include "lib/base/text.h"
#include "lib/core/machine_impl.h"
#include "lib/guest/poll.h"

#include <sys/random.h>

#include <chrono>

namespace attest {
namespace {

constexpr std::size_t entropy_bytes = 64;

std::string random_bytes() {
  std::string bytes(entropy_bytes, '\0');
  // Cannot fail for so few bytes, but for a signal before the host's generator is ready.
  while (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
  }
  return bytes;
}

// The files of /etc/systemd/network that seed_files() has made for a VLAN.
std::string network_file(int vlan) {
  return "/etc/systemd/network/10-attest-vlan" + std::to_string(vlan) + ".network";
}

// The card is known by the address that it was saved with. Its kernel's own idea of the MAC is
// changed; the monitors take frames for any.
std::string give_address(const net::Nic& saved, const net::Nic& now) {
  using base::shell_quote;
  return "for card in /sys/class/net/*; do\n"
         "  [ \"$(cat $card/address)\" = " +
         shell_quote(saved.mac) +
         " ] && [ -e $card/device ] || continue\n"
         "  card=${card##*/}\n"
         "  ip link set dev $card down\n"
         "  ip address flush dev $card\n"
         "  ip link set dev $card address " +
         shell_quote(now.mac) +
         "\n"
         "  ip link set dev $card up\n"
         "  ip address add " +
         shell_quote(now.ipv4 + "/24") +
         " dev $card\n"
         "  ip -6 address add " +
         shell_quote(now.ipv6 + "/64") +
         " nodad dev $card 2>/dev/null || true\n"
         "done\n";
}

}  // namespace

// A clone under another name, or on other VLANs, than the machine that was saved.
Task<void> Machine::Impl::rename_guest(std::shared_ptr<core::Running> run, core::Manifest saved,
                                       Deadline deadline) {
  if (saved.seed == outline().seed) co_return;
  auto nics = fleet.plan.node(name).nics;
  // Perhaps only the fleet around it is another one, and names lead elsewhere.
  for (auto& file : net::seed_files(fleet.plan, name))
    co_await run->guest->write_file(file.path, file.content, file.mode, deadline);
  if (saved.machine == name && saved.nics == nics) co_return;
  std::string script = "hostname " + base::shell_quote(name) + "\n";
  for (auto& nic : saved.nics) {
    bool stays = std::ranges::any_of(nics, [&](auto& own) { return own.vlan == nic.vlan; });
    if (!stays) script += "rm -f " + network_file(nic.vlan) + "\n";
  }
  // All cards go down before any goes up: two of them may swap their addresses.
  for (std::size_t i = 0; i < nics.size() && i < saved.nics.size(); ++i)
    if (saved.nics[i] != nics[i]) script += give_address(saved.nics[i], nics[i]);
  script += "networkctl reload >/dev/null 2>&1 || true\n";
  guest::Command command{.shell = script, .argv = {}};
  command.label = "giving the clone its own name and addresses";
  auto done = co_await run->guest->run(std::move(command), deadline);
  if (done.exit_code == 0) co_return;
  throw Error(Error::Kind::guest,
              "the clone could not be given its own name and addresses: exit "
              "code " +
                  std::to_string(done.exit_code))
      .attach("what it said", done.error_output);
}

Task<void> Machine::Impl::settle(std::shared_ptr<core::Running> run, From from,
                                 std::chrono::steady_clock::time_point began, Deadline deadline) {
  auto entropy = random_bytes();
  co_await async::unless(core::Running::doom(run), run->guest->reseed(entropy, deadline));
  if (!from.keep_clock)
    co_await async::unless(core::Running::doom(run),
                           run->guest->set_clock(std::chrono::system_clock::now(), deadline));
  co_await async::unless(core::Running::doom(run), rename_guest(run, from.saved, deadline));
  run->was_ready = from.saved.ready >= config.ready;
  auto whole = std::chrono::steady_clock::now() - began;
  auto spans = snapshotter().restore_spans();
  fleet.setup.say(name, "restored in " + base::human(whole) + " from '" + from.dir.string() +
                            "': monitor " + base::human(spans.start) + ", load " +
                            base::human(spans.load) + ", resume " + base::human(spans.resume) +
                            ", first answer " +
                            base::human(whole - spans.start - spans.load - spans.resume) +
                            (spans.how.empty() ? "" : " (" + spans.how + ")"));
}

Task<void> Machine::Impl::resized(std::shared_ptr<core::Running> run, ResizeOptions options,
                                  Deadline deadline) {
  if (options.vcpus) {
    auto goal = std::to_string(*options.vcpus) + " processors to be online in the machine";
    // Debian's kernel leaves new processors offline until somebody asks for them.
    auto probe =
        "for cpu in /sys/devices/system/cpu/cpu[0-9]*/online; do\n"
        "  [ ! -e $cpu ] || [ \"$(cat $cpu)\" = 1 ] || echo 1 >$cpu 2>/dev/null || true\n"
        "done\n"
        "have=$(grep -c ^processor /proc/cpuinfo)\n"
        "[ $have = " +
        std::to_string(*options.vcpus) + " ] || { echo \"$have are online\"; exit 1; }";
    co_await guest::wait_for(*run->guest, goal, probe, deadline);
  }
  if (options.memory_mb) {
    auto goal = std::to_string(*options.memory_mb) + " MiB of memory to be in the machine";
    // By blocks that are online: MemTotal lacks what the kernel keeps for itself.
    auto probe =
        "size=$((0x$(cat /sys/devices/system/memory/block_size_bytes)))\n"
        "online=0\n"
        "for block in /sys/devices/system/memory/memory[0-9]*; do\n"
        "  case $(cat $block/state) in\n"
        "    offline) echo online >$block/state 2>/dev/null || true ;;\n"
        "  esac\n"
        "  [ \"$(cat $block/state)\" != online ] || online=$((online + 1))\n"
        "done\n"
        "have=$((online * size >> 20))\n"
        "[ $have -ge " +
        std::to_string(*options.memory_mb) + " ] || { echo \"$have MiB are online\"; exit 1; }";
    co_await guest::wait_for(*run->guest, goal, probe, deadline);
  }
}

}  // namespace attest
