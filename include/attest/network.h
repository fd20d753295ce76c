// The networks of a driver: handles on links and VLANs, faults that heal themselves, captures.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace attest {

/// The test process among the members of a VLAN, where names of machines are taken.
inline constexpr std::string_view test_process = "(test)";

/// Which way frames go on a machine's link.
enum class Direction { both, to_machine, from_machine };

/// What a link does to the frames that pass. Each share is a probability from 0 to 1, decided frame
/// by frame. It happens in the switch: the sender is told nothing, as on a real network.
struct Impairment {
  /// One way; with Direction::both a round trip takes two. 16 MiB may be under way, more are lost.
  std::chrono::microseconds delay{0};
  std::chrono::microseconds jitter{0};  ///< delay +- so much, evenly spread; order is kept
  double loss = 0;                      ///< share of frames that vanish
  double duplicate = 0;                 ///< share that arrives twice
  double reorder = 0;      ///< share that is held back 5 ms, so that later ones overtake it
  double corrupt = 0;      ///< share in which one bit behind the Ethernet header is flipped
  std::uint64_t rate = 0;  ///< bits per second; 0: any. 100 ms of frames wait, more are dropped
  int mtu = 0;             ///< longest packet in bytes that passes, its Ethernet header not counted
  bool operator==(const Impairment&) const = default;
};

/// Something wrong with the network, for as long as this lives: the end of its scope heals it, also
/// when an assertion has failed. Faults add up, and may be healed in any order, also after the end
/// of the machine or the driver. Calls return when the network has changed.
class [[nodiscard]] Fault {
 public:
  using Here = std::source_location;
  struct Impl;  // lib/core/fault.h

  /// None; there is nothing to heal.
  Fault();
  explicit Fault(std::unique_ptr<Impl> impl);
  Fault(Fault&&) noexcept;
  Fault& operator=(Fault&&) noexcept;
  ~Fault();

  /// Takes it off. Nothing to do if it is off.
  void heal(Here here = Here::current());
  /// Puts it on again. Nothing to do if it is on.
  void apply(Here here = Here::current());
  bool active() const noexcept;

 private:
  std::unique_ptr<Impl> impl_;
};

/// What has passed a link, seen from the switch. Frames, not bytes; a kernel VLAN counts as its
/// interfaces do, where a large TCP segment may be one. Counting begins anew when an interface is
/// made again (a reboot), and when a VLAN leaves the kernel.
struct LinkStats {
  std::uint64_t from_machine = 0;  ///< received from it
  std::uint64_t to_machine = 0;    ///< handed to it
  std::uint64_t dropped = 0;       ///< meant for it, lost because it did not read
  std::uint64_t faulted = 0;  ///< to or from it, taken away by faults; always 0 on a kernel VLAN
};

namespace core {
struct Fleet;
}

/// One machine's network card, at its switch. A value; valid while the driver lives.
///     auto slow = driver().network().link("web").impair({.delay = 50ms});
class Link {
 public:
  using Here = std::source_location;

  Link(core::Fleet& fleet, std::string machine, int vlan);

  const std::string& machine() const noexcept { return machine_; }
  int vlan() const noexcept { return vlan_; }

  /// Throws Error{usage} for a share outside 0 to 1, or a negative number.
  Fault impair(const Impairment& impairment, Direction direction = Direction::both,
               Here here = Here::current());
  /// Lets nothing pass. The machine's card does not notice; Machine::block() pulls the cable.
  Fault cut(Direction direction = Direction::both, Here here = Here::current());
  LinkStats stats(Here here = Here::current()) const;

 private:
  core::Fleet* fleet_;
  std::string machine_;
  int vlan_;
};

/// Writes what passes a VLAN to a pcapng file, from its making until stop() or its end. Each
/// machine is an interface of its own in it, and each frame's comment says who sent it to whom, and
/// which fault took it away. Readable at any time; the end writes out what is still on its way.
class [[nodiscard]] Capture {
 public:
  using Here = std::source_location;
  struct Impl;  // lib/core/network_capture.h

  explicit Capture(std::unique_ptr<Impl> impl);
  Capture(Capture&&) noexcept;
  Capture& operator=(Capture&&) noexcept;
  ~Capture();

  /// Ends it. Error{host} if the file could not be written to its end.
  void stop(Here here = Here::current());
  const std::filesystem::path& path() const noexcept;
  /// Frames so far.
  std::uint64_t frames() const noexcept;

 private:
  std::unique_ptr<Impl> impl_;
};

/// One VLAN. A value; valid while the driver lives.
class Vlan {
 public:
  using Here = std::source_location;

  Vlan(core::Fleet& fleet, int number);

  int number() const noexcept { return number_; }
  /// Begins to capture. A relative `path` is below attest::artifact_dir().
  ///     auto packets = driver().network().vlan(1).capture("handshake.pcapng");
  Capture capture(const std::filesystem::path& path, Here here = Here::current());

 private:
  core::Fleet* fleet_;
  int number_;
};

/// For partitions.
struct PartitionOptions {
  int vlan = 0;          ///< only there; 0: wherever they meet
  bool one_way = false;  ///< only what the first group sends to the second is lost
};

/// The networks of one driver. Members are machines, and attest::test_process. A value; valid while
/// the driver lives. All calls throw Error{usage} for a member that does not exist, with the
/// nearest name, and for groups that make no sense; Error{unsupported} for a machine that is on no
/// VLAN of ours, as a host over ssh.
///     auto split = driver().network().partition({"a", "b"}, {"c"});
///     a.wait_until_succeeds("cluster status | grep -q quorate");
class Network {
 public:
  using Here = std::source_location;
  using Group = std::vector<std::string>;

  explicit Network(core::Fleet& fleet) : fleet_(&fleet) {}

  /// The link of `machine` to `vlan`; 0: to the first of its VLANs.
  Link link(std::string_view machine, int vlan = 0, Here here = Here::current()) const;
  Vlan vlan(int number, Here here = Here::current()) const;

  /// Nothing passes between the two groups. Those in neither reach everybody.
  Fault partition(const Group& one, const Group& other, PartitionOptions options = {},
                  Here here = Here::current());
  /// Nothing passes between `member` and all others that there are now, the test process included.
  Fault isolate(std::string_view member, PartitionOptions options = {},
                Here here = Here::current());
  /// Each member reaches a majority, and no two the same one: in the order given they stand in a
  /// ring, and each reaches its neighbours only. At least five members; of others, the test process
  /// included, nothing is changed.
  Fault majority_ring(const Group& members, PartitionOptions options = {},
                      Here here = Here::current());
  /// Two groups that do not reach each other, and one member that reaches both.
  Fault bridge(const Group& one, std::string_view middle, const Group& other,
               PartitionOptions options = {}, Here here = Here::current());

  /// What all random choices of faults begin with; it is printed when there are any. Set it by the
  /// config's network.seed to make the same choices again, on a VLAN of the same realisation. On a
  /// kernel VLAN that takes Linux 6.6 (before, choices are other ones each time), and which bit
  /// `corrupt` flips is by chance on all kernels.
  std::uint64_t seed() const noexcept;

 private:
  core::Fleet* fleet_;
};

}  // namespace attest
