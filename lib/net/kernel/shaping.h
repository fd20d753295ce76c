// Faults on a VLAN that the kernel switches: rules become queues before the bridge's ports and a
// table of nf_tables. What a machine sends is impaired after it has left the machine, and what it
// receives before it gets there: on the switch's side of the cable, as in the in-process switch.
#pragma once
#include "lib/net/kernel/nft_blocks.h"
#include "lib/net/kernel/qdisc.h"
#include "lib/net/rules.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace attest::net {

/// What the kernel, and our rights in it, are good for. "" if it is there, else what is missing and
/// what to do about it: "the kernel has no sch_netem (modprobe sch_netem; CONFIG_NET_SCH_NETEM)".
struct ShapingSupport {
  std::string no_partitions;   ///< nf_tables of the bridge family
  std::string no_impairments;  ///< sch_netem and all that it is put before an interface with
};

/// Found out at the first call by trying, in a network namespace that is thrown away; that takes
/// some ms, or as long as the kernel needs to load modules. Never throws.
const ShapingSupport& shaping_support();

/// "" if the kernel can do exactly these rules, else why not. Pure.
std::string why_not(const Rules& rules, const ShapingSupport& support);

/// The faults of one bridge, of the network namespace that the thread is in when this is made and
/// when it is used.
class KernelRules {
 public:
  /// What random choices begin with is `seed`, from Linux 6.6 on; earlier ones take their own.
  explicit KernelRules(std::string bridge, std::uint64_t seed = 0)
      : bridge_(std::move(bridge)), seed_(seed), blocks_(bridge_) {}
  KernelRules(const KernelRules&) = delete;
  KernelRules& operator=(const KernelRules&) = delete;
  /// Removes all that it has made, with all frames that are under way in it.
  ~KernelRules() { clear(); }

  /// From now on these rules are obeyed, in place of those before. `ports` are the interfaces of
  /// members on the bridge; the test process is the bridge itself. Blocked pairs change as one, and
  /// also hold for ports that do not exist yet; links are impaired one after the other, and those
  /// of ports that are not there are left out: call again when one has come (back). Frames that are
  /// under way in a delay arrive at their times, also when it is healed, and those that wait for a
  /// rate within a frame's time at that rate. A few ms; the first time a
  /// port's machine is impaired in sending takes longer. Throws Error{host}: there are no rules at
  /// all then. What why_not() has something against is done as well as can be.
  void apply(const Rules& rules, const std::map<Member, std::string>& ports);

 private:
  using Clock = std::chrono::steady_clock;
  enum class Way { to_member, from_member };
  using Link = std::pair<Member, Way>;

  // Queues that are there: at the port, or at the ifb through which all goes that comes in by it.
  struct Queues {
    Interface port;
    std::string ifb;  ///< "": at the port
    int device = 0;
    Impairment impairment;
    bool in_use = false;        ///< frames pass through them
    Clock::time_point empty{};  ///< when the last frame of earlier impairments has left
  };

  bool by_ifb(const Link& link) const noexcept;
  const std::string* name_of(Member member, const std::map<Member, std::string>& ports) const;
  void shape(const Link& link, const std::string& name, const Impairment& impairment);
  Queues make_queues(const Link& link, const std::string& name, const Interface& port);
  std::uint64_t next_seed(const Link& link);
  static void change(Queues& queues, const Impairment& impairment);
  void heal(Queues& queues);
  void remove(const Queues& queues) noexcept;
  void remove_ifb(Member member) noexcept;
  void clear() noexcept;

  std::string bridge_;
  std::uint64_t seed_;
  Qdiscs qdiscs_;
  NftBlocks blocks_;
  std::map<Link, Queues> links_;
  std::map<Link, std::uint64_t> settings_;  ///< how many there have been
  /// Stay until the port is another or the end comes: removing takes the kernel some 20 ms.
  std::map<Member, std::string> ifbs_;
};

}  // namespace attest::net
