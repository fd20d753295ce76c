#include "lib/net/kernel/nft_batch.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <new>

namespace attest::net {
namespace {

using Message = std::unique_ptr<nl_msg, void (*)(nl_msg*)>;

void put(int result) {
  if (result < 0) throw std::bad_alloc();
}

Message make_message(int type, int flags, int family, std::uint16_t resource, std::size_t size) {
  Message message(::nlmsg_alloc_size(size), ::nlmsg_free);
  if (!message || !::nlmsg_put(message.get(), 0, 0, type, sizeof(nfgenmsg), flags))
    throw std::bad_alloc();
  nfgenmsg header{.nfgen_family = static_cast<std::uint8_t>(family),
                  .version = NFNETLINK_V0,
                  .res_id = htons(resource)};
  std::memcpy(::nlmsg_data(::nlmsg_hdr(message.get())), &header, sizeof header);
  return message;
}

// Large transactions; best effort, the kernel says so when it does not fit.
void make_room(int socket, std::size_t bytes) {
  int room = static_cast<int>(bytes + 4096);
  if (::setsockopt(socket, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) < 0)
    ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
}

}  // namespace

NftMessage& NftMessage::text(int attribute, const std::string& value) {
  put(::nla_put_string(&message_, attribute, value.c_str()));
  return *this;
}

NftMessage& NftMessage::number(int attribute, std::uint32_t value) {
  put(::nla_put_u32(&message_, attribute, htonl(value)));
  return *this;
}

NftMessage& NftMessage::bytes(int attribute, std::string_view value) {
  put(::nla_put(&message_, attribute, static_cast<int>(value.size()), value.data()));
  return *this;
}

NftMessage& NftMessage::nest(int attribute, const std::function<void(NftMessage&)>& fill) {
  auto* start = ::nla_nest_start(&message_, attribute | NLA_F_NESTED);
  if (!start) throw std::bad_alloc();
  fill(*this);
  put(::nla_nest_end(&message_, start));
  return *this;
}

NftBatch::NftBatch(std::uint32_t sequence) : first_(sequence), next_(sequence) {
  append(make_message(NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES, 4096));
}

void NftBatch::add(int type, int flags, const std::function<void(NftMessage&)>& fill,
                   std::size_t size) {
  auto message = make_message(NFNL_SUBSYS_NFTABLES << 8 | type, flags, NFPROTO_BRIDGE, 0, size);
  NftMessage attributes(*message);
  fill(attributes);
  append(std::move(message));
}

void NftBatch::append(Message message) {
  auto* header = ::nlmsg_hdr(message.get());
  header->nlmsg_seq = next_++;
  header->nlmsg_flags |= NLM_F_REQUEST;
  last_ = bytes_.size();
  bytes_.append(reinterpret_cast<char*>(header), header->nlmsg_len);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

int NftBatch::commit(int socket) {
  // The consent to the last message comes after the end of the transaction. A refusal may be of
  // any, and one of the whole is sent as an answer to the first.
  reinterpret_cast<nlmsghdr*>(bytes_.data() + last_)->nlmsg_flags |= NLM_F_ACK;
  auto awaited = next_ - 1;
  append(make_message(NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES, 4096));
  make_room(socket, bytes_.size());
  sockaddr_nl kernel{.nl_family = AF_NETLINK};
  while (::sendto(socket, bytes_.data(), bytes_.size(), 0, reinterpret_cast<sockaddr*>(&kernel),
                  sizeof kernel) < 0)
    if (errno != EINTR) return errno;
  alignas(nlmsghdr) std::array<char, 32 << 10> buffer;
  while (true) {
    auto got = ::recv(socket, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    int left = static_cast<int>(got);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer.data()); ::nlmsg_ok(header, left);
         header = ::nlmsg_next(header, &left)) {
      if (header->nlmsg_type != NLMSG_ERROR) continue;
      if (header->nlmsg_seq - first_ >= next_ - first_) continue;  // of an earlier one, refused
      auto* answer = static_cast<nlmsgerr*>(::nlmsg_data(header));
      if (answer->error) return -answer->error;
      if (header->nlmsg_seq == awaited) return 0;
    }
  }
}

}  // namespace attest::net
