// Messages to the kernel's nf_tables, collected and sent as one transaction.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

struct nl_msg;

namespace attest::net {

/// One message's attributes. Numbers go in the network's byte order, as nf_tables wants them.
class NftMessage {
 public:
  explicit NftMessage(nl_msg& message) : message_(message) {}

  NftMessage& text(int attribute, const std::string& value);
  NftMessage& number(int attribute, std::uint32_t value);
  NftMessage& bytes(int attribute, std::string_view value);
  /// What `fill` adds is inside of `attribute`.
  NftMessage& nest(int attribute, const std::function<void(NftMessage&)>& fill);

 private:
  nl_msg& message_;
};

/// Messages for tables of the bridge family.
class NftBatch {
 public:
  /// Messages are numbered from `sequence` on.
  explicit NftBatch(std::uint32_t sequence);

  /// Adds a message NFT_MSG_*; `size` is at least what its attributes take.
  void add(int type, int flags, const std::function<void(NftMessage&)>& fill,
           std::size_t size = 4096);
  /// Sends all on a netlink socket of NETLINK_NETFILTER, waits for the end of the transaction and
  /// returns 0, or the errno with which the kernel has refused it: nothing is changed then.
  int commit(int socket);
  /// The number after the last one used.
  std::uint32_t next() const noexcept { return next_; }

 private:
  void append(std::unique_ptr<nl_msg, void (*)(nl_msg*)> message);

  std::uint32_t first_, next_;
  std::string bytes_;
  std::size_t last_ = 0;  ///< where the last message begins
};

}  // namespace attest::net
