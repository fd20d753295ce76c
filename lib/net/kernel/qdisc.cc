#include "lib/net/kernel/qdisc.h"

#include "attest/error.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/route/link.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <new>

namespace attest::net {
namespace {

using Message = std::unique_ptr<nl_msg, void (*)(nl_msg*)>;

// Handles are the same on each interface: the number before the colon, in the upper half.
constexpr std::uint32_t tbf = 1 << 16, netem = 2 << 16, bfifo = 3 << 16;
constexpr std::uint32_t only_class = 1;
constexpr std::uint32_t ingress = 0xffff << 16;

// TCA_NETEM_PRNG_SEED, which headers before Linux 6.6 have not. Such a kernel passes over it.
constexpr int netem_seed = 14;
// A group of interfaces that are about to go.
constexpr std::uint32_t doomed = 0x646f6f6d;

// Bytes a second that nothing here reaches, and more, which a peak rate must be.
constexpr std::uint64_t any_rate = 10'000'000'000, peak_rate = 100'000'000'000;
// Frames that may be under way in a delay at once, 100,000 a second for a second.
constexpr std::uint32_t frames_under_way = 100'000;
// An Ethernet header, and two VLAN tags where they are part of the frame.
constexpr int header_bytes = ETH_HLEN, tag_bytes = 8;

void put(int result) {
  if (result < 0) throw std::bad_alloc();
}

template <class T>
void put(Message& message, int attribute, const T& value) {
  put(::nla_put(message.get(), attribute, sizeof value, &value));
}

template <class T>
Message request(int type, int flags, const T& header) {
  Message message(::nlmsg_alloc_simple(type, flags), ::nlmsg_free);
  if (!message) throw std::bad_alloc();
  put(::nlmsg_append(message.get(), const_cast<T*>(&header), sizeof header, NLMSG_ALIGNTO));
  return message;
}

void nest(Message& message, int attribute, const std::function<void()>& fill) {
  auto* start = ::nla_nest_start(message.get(), attribute);
  if (!start) throw std::bad_alloc();
  fill();
  put(::nla_nest_end(message.get(), start));
}

Message make_qdisc(int device, std::uint32_t parent, std::uint32_t handle, const char* kind) {
  tcmsg header{
      .tcm_family = AF_UNSPEC, .tcm_ifindex = device, .tcm_handle = handle, .tcm_parent = parent};
  auto message = request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, header);
  put(::nla_put_string(message.get(), TCA_KIND, kind));
  return message;
}

Message delete_qdisc(int device, std::uint32_t parent, std::uint32_t handle) {
  tcmsg header{
      .tcm_family = AF_UNSPEC, .tcm_ifindex = device, .tcm_handle = handle, .tcm_parent = parent};
  return request(RTM_DELQDISC, 0, header);
}

// What may not be there: "sch_netem", and how it comes to be.
struct Part {
  const char* name;
  const char* remedy;
};

// ENOENT is also what comes when the queue before it was taken away by somebody else.
bool means_missing(const NetlinkSocket::Answer& answer) {
  if (answer.code == EOPNOTSUPP) return true;
  return answer.code == ENOENT && !answer.words.starts_with("Failed to find specified qdisc");
}

void send(NetlinkSocket& socket, Message message, const std::string& attempt, const Part& part) {
  auto answer = socket.answer_of(::nl_send_sync(socket.get(), message.release()));
  if (means_missing(answer))
    throw Error(Error::Kind::host,
                attempt + ": the kernel has no " + part.name + " (" + part.remedy + ")");
  if (answer.code) socket.fail(answer, attempt);
}

std::uint64_t bytes_a_second(const Impairment& impairment) {
  if (impairment.rate == 0) return any_rate;
  return std::clamp<std::uint64_t>(impairment.rate / 8, 1, any_rate);
}

std::uint32_t low_half(std::uint64_t value) {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(value, std::numeric_limits<std::uint32_t>::max()));
}

std::uint32_t longest_frame(const Interface& device, const Impairment& impairment) {
  int usual = device.mtu + header_bytes + tag_bytes;
  if (impairment.mtu == 0 || impairment.mtu + header_bytes > usual)
    return static_cast<std::uint32_t>(usual);
  return static_cast<std::uint32_t>(impairment.mtu + header_bytes);
}

// The peak rate is there for its bucket: its size, and not that of the rate's own, is then what no
// frame may exceed, and what large segments are cut to.
Message tbf_of(const Interface& device, const Impairment& impairment) {
  auto rate = bytes_a_second(impairment);
  auto frame = longest_frame(device, impairment);
  std::uint32_t bucket = std::max(frame, low_half(rate / 500));
  tc_tbf_qopt options{};
  options.rate = {.linklayer = TC_LINKLAYER_ETHERNET, .rate = low_half(rate)};
  options.peakrate = {.linklayer = TC_LINKLAYER_ETHERNET, .rate = low_half(peak_rate)};
  options.limit = bucket;  // of the queue that it has for the moment until netem is there
  auto message = make_qdisc(device.index, TC_H_ROOT, tbf, "tbf");
  nest(message, TCA_OPTIONS, [&] {
    put(message, TCA_TBF_PARMS, options);
    put(message, TCA_TBF_RATE64, rate);
    put(message, TCA_TBF_PRATE64, peak_rate);
    put(message, TCA_TBF_BURST, bucket);
    put(message, TCA_TBF_PBURST, frame);
  });
  return message;
}

// 0: never, the highest: always.
std::uint32_t share(double probability) {
  constexpr auto always = std::numeric_limits<std::uint32_t>::max();
  return static_cast<std::uint32_t>(std::clamp(probability, 0.0, 1.0) * always);
}

Message netem_of(const Interface& device, const Impairment& impairment, std::uint64_t seed) {
  using std::chrono::nanoseconds;
  std::int64_t delay = nanoseconds(impairment.delay).count();
  std::int64_t jitter = nanoseconds(impairment.jitter).count();
  if (impairment.reorder > 0) delay = nanoseconds(std::chrono::milliseconds(5)).count();
  auto shares = netem_shares(impairment.loss, impairment.duplicate).value_or(NetemShares{});
  constexpr std::uint64_t tick = 64;  // nanoseconds, in the fields of older kernels
  tc_netem_qopt options{.latency = low_half(static_cast<std::uint64_t>(delay) / tick),
                        .limit = frames_under_way,
                        .loss = share(shares.loss),
                        .gap = impairment.reorder > 0 ? 1U : 0U,
                        .duplicate = share(shares.duplicate),
                        .jitter = low_half(static_cast<std::uint64_t>(jitter) / tick)};
  // Frames that are not "reordered" are sent at once, those that are wait out the delay.
  tc_netem_reorder at_once{
      .probability = impairment.reorder > 0 ? share(1 - impairment.reorder) : 0, .correlation = 0};
  tc_netem_corrupt corrupt{.probability = share(impairment.corrupt), .correlation = 0};
  // A rate, and be it one at which no frame takes a nanosecond, makes netem count a frame's time
  // from the end of the one before: none overtakes another, under jitter or a delay that shrinks.
  tc_netem_rate in_order{.rate = std::numeric_limits<std::uint32_t>::max()};
  std::uint64_t in_order64 = std::uint64_t{1} << 44;
  auto message = make_qdisc(device.index, tbf | only_class, netem, "netem");
  nest(message, TCA_OPTIONS, [&] {
    put(::nlmsg_append(message.get(), &options, sizeof options, NLMSG_ALIGNTO));
    put(message, TCA_NETEM_LATENCY64, delay);
    put(message, TCA_NETEM_JITTER64, jitter);
    put(message, TCA_NETEM_REORDER, at_once);
    put(message, TCA_NETEM_CORRUPT, corrupt);
    put(message, TCA_NETEM_RATE64, in_order64);
    put(message, TCA_NETEM_RATE, in_order);
    put(message, netem_seed, seed);
  });
  return message;
}

// 100 ms of frames, and tbf has one that is being sent; a plenty where no rate makes them wait. A
// frame that is longer than that must fit all the same, or it would never get to tbf.
Message bfifo_of(const Interface& device, const Impairment& impairment) {
  tc_fifo_qopt options{.limit = std::numeric_limits<std::int32_t>::max()};
  if (impairment.rate > 0)
    options.limit = std::min(options.limit, std::max(low_half(bytes_a_second(impairment) / 10),
                                                     longest_frame(device, impairment)));
  auto message = make_qdisc(device.index, netem | only_class, bfifo, "bfifo");
  put(message, TCA_OPTIONS, options);
  return message;
}

}  // namespace

std::optional<NetemShares> netem_shares(double loss, double duplicate) {
  if (loss >= 1) return NetemShares{1, 0};
  // With l and d told to netem, l(1-d) of all frames vanish and d(1-l)^2 come twice.
  NetemShares told{loss, duplicate};
  for (int round = 0; round < 200; ++round) {
    told.duplicate = (1 - loss) * duplicate / ((1 - told.loss) * (1 - told.loss));
    if (!(told.duplicate <= 1)) return std::nullopt;
    auto next = told.duplicate < 1 ? loss / (1 - told.duplicate) : (loss > 0 ? 1.0 : 0.0);
    if (!(next < 1)) return std::nullopt;
    if (std::abs(next - told.loss) < 1e-9) return told;
    told.loss = next;
  }
  return std::nullopt;
}

// netem's times, and then that of the one frame that tbf waits for: nothing wakes it up earlier
// when the rate ends, but then all that the rate has left goes at once. That takes a while, too: at
// most the 100 ms that it was good for.
std::chrono::microseconds longest_wait(const Interface& device, const Impairment& impairment) {
  using std::chrono::microseconds, std::chrono::milliseconds;
  microseconds wait = impairment.delay + impairment.jitter;
  if (impairment.reorder > 0) wait += milliseconds(5);
  if (impairment.rate == 0) return wait;
  constexpr std::uint64_t second = 1'000'000;
  auto frame = longest_frame(device, impairment) * second / bytes_a_second(impairment);
  return wait + microseconds(frame) + milliseconds(100);
}

std::string why_not(const Impairment& impairment) {
  using namespace std::chrono_literals;
  if (impairment.reorder > 0 && (impairment.delay > 0us || impairment.jitter > 0us))
    return "the kernel's netem sends what overtakes without the delay of the others";
  if (impairment.reorder > 0 && impairment.rate > 0)
    return "the kernel's netem lets what overtakes wait longer than 100 ms for the rate";
  if (impairment.jitter > 2s) return "the kernel's netem spreads times by at most 2 s";
  if (!netem_shares(impairment.loss, impairment.duplicate))
    return "the kernel's netem cannot lose and repeat that many frames at once";
  return {};
}

std::optional<Interface> Qdiscs::find(const std::string& name) {
  rtnl_link* found = nullptr;
  int code = socket_.code_of(::rtnl_link_get_kernel(socket_.get(), 0, name.c_str(), &found));
  if (code == ENODEV) return std::nullopt;
  if (code) socket_.fail(code, "looking at the interface '" + name + "'");
  std::unique_ptr<rtnl_link, decltype(&::rtnl_link_put)> link(found, ::rtnl_link_put);
  return Interface{.index = ::rtnl_link_get_ifindex(found),
                   .mtu = static_cast<int>(::rtnl_link_get_mtu(found)),
                   .group = ::rtnl_link_get_group(found)};
}

void Qdiscs::shape(const std::string& name, const Interface& device, const Impairment& impairment,
                   std::uint64_t seed) {
  auto attempt = "impairing what leaves the interface '" + name + "'";
  send(socket_, tbf_of(device, impairment), attempt,
       {"sch_tbf", "modprobe sch_tbf; CONFIG_NET_SCH_TBF"});
  send(socket_, netem_of(device, impairment, seed), attempt,
       {"sch_netem", "modprobe sch_netem; CONFIG_NET_SCH_NETEM"});
  send(socket_, bfifo_of(device, impairment), attempt,
       {"bfifo", "part of the kernel itself; CONFIG_NET_SCHED"});
}

void Qdiscs::unshape(int device) noexcept {
  socket_.code_of(::nl_send_sync(socket_.get(), delete_qdisc(device, TC_H_ROOT, tbf).release()));
}

void Qdiscs::make_ifb(const std::string& name, std::uint32_t group) {
  ifinfomsg up{.ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  auto message = request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, up);
  put(::nla_put_string(message.get(), IFLA_IFNAME, name.c_str()));
  put(message, IFLA_GROUP, group);
  nest(message, IFLA_LINKINFO,
       [&] { put(::nla_put_string(message.get(), IFLA_INFO_KIND, "ifb")); });
  send(socket_, std::move(message), "making the interface '" + name + "'",
       {"ifb", "modprobe ifb; CONFIG_IFB"});
}

void Qdiscs::redirect(const std::string& name, int device, int ifb) {
  auto attempt = "leading what comes in by '" + name + "' through an ifb";
  send(socket_, make_qdisc(device, TC_H_INGRESS, ingress, "ingress"), attempt,
       {"sch_ingress", "modprobe sch_ingress; CONFIG_NET_SCH_INGRESS"});
  tcmsg header{.tcm_family = AF_UNSPEC,
               .tcm_ifindex = device,
               .tcm_parent = ingress,
               .tcm_info = TC_H_MAKE(1U << 16, htons(ETH_P_ALL))};
  auto message = request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, header);
  put(::nla_put_string(message.get(), TCA_KIND, "u32"));
  // No key: it fits all. There is no action before 1.
  tc_u32_sel all{};
  all.flags = TC_U32_TERMINAL;
  const void* selector = &all;  // its keys would follow it
  tc_mirred to_ifb{};
  to_ifb.action = TC_ACT_STOLEN;
  to_ifb.eaction = TCA_EGRESS_REDIR;
  to_ifb.ifindex = static_cast<std::uint32_t>(ifb);
  nest(message, TCA_OPTIONS, [&] {
    put(::nla_put(message.get(), TCA_U32_SEL, sizeof all, selector));
    nest(message, TCA_U32_ACT, [&] {
      nest(message, 1, [&] {
        put(::nla_put_string(message.get(), TCA_ACT_KIND, "mirred"));
        nest(message, TCA_ACT_OPTIONS, [&] { put(message, TCA_MIRRED_PARMS, to_ifb); });
      });
    });
  });
  try {
    send(socket_, std::move(message), attempt,
         {"cls_u32 or act_mirred",
          "modprobe -a cls_u32 act_mirred; CONFIG_NET_CLS_U32, CONFIG_NET_CLS_ACT, "
          "CONFIG_NET_ACT_MIRRED"});
  } catch (...) {
    stop_redirecting(device);
    throw;
  }
}

void Qdiscs::stop_redirecting(int device) noexcept {
  socket_.code_of(
      ::nl_send_sync(socket_.get(), delete_qdisc(device, TC_H_INGRESS, ingress).release()));
}

// The kernel waits for its readers after each request, so one is to remove all: it takes a group.
void Qdiscs::remove(const std::vector<std::string>& names) noexcept {
  if (names.empty()) return;
  try {
    std::vector<Request> moves;
    for (auto& name : names)
      moves.push_back(std::move(change_link(name, "removing it").put(IFLA_GROUP, doomed)));
    socket_.exchange(moves);
    Request all(RTM_DELLINK, 0, ifinfomsg{}, "removing interfaces");
    socket_.ask(all.put(IFLA_GROUP, doomed));
  } catch (const std::exception&) {
    // without memory or a kernel that answers they stay until the namespace ends
  }
}

}  // namespace attest::net
