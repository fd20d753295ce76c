// Who may not send to whom on one bridge, told to the kernel's nf_tables.
#pragma once
#include "lib/base/fd.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace attest::net {

/// Owns a table of the bridge family in the network namespace that the thread is in. It has one
/// rule in each of the bridge's hooks (forward, input, output), which looks up the pair of names of
/// the interfaces in one set, so that a frame costs the same however many pairs there are.
class NftBlocks {
 public:
  /// From one interface to another; either may be the bridge's own name, which stands for what is
  /// sent or received by this host itself. None of them need exist yet.
  using Pair = std::pair<std::string, std::string>;

  explicit NftBlocks(std::string bridge) : bridge_(std::move(bridge)) {}
  NftBlocks(const NftBlocks&) = delete;
  NftBlocks& operator=(const NftBlocks&) = delete;
  ~NftBlocks() { remove(); }

  /// From now on exactly these are blocked: one transaction, all or nothing, under a millisecond.
  /// Throws Error{host}; what was blocked before still is.
  void set(const std::vector<Pair>& pairs);
  /// Takes the table away, if there is one.
  void remove() noexcept;

 private:
  std::string table() const { return "attest-" + bridge_; }

  std::string bridge_;
  base::Fd socket_;  ///< from the first set() on: removing must not fail for want of one
  std::uint32_t sequence_ = 0;
  bool there_ = false;
};

}  // namespace attest::net
