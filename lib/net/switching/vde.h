// A vde_switch process, for nixpkgs start scripts: their QEMU joins with `-netdev vde`.
#pragma once
#include "lib/async/net.h"

#include <filesystem>
#include <memory>

namespace attest::net {

/// One running `vde_switch --hub`: a hub, so that 802.1Q frames and moved MACs pass. Loop thread
/// only, the destructor too.
class VdeSwitch {
 public:
  /// Starts it on the directory `dir` (made by it, removed first if left over; its parent must
  /// exist) and returns once it answers. Throws Error{host} if the program is missing or fails,
  /// Error{timeout}.
  static Task<std::unique_ptr<VdeSwitch>> start(std::filesystem::path dir, Deadline deadline);
  VdeSwitch(const VdeSwitch&) = delete;
  VdeSwitch& operator=(const VdeSwitch&) = delete;
  /// Kills and reaps it, and removes the directory.
  ~VdeSwitch();

  /// What a start script wants in QEMU_VDE_SOCKET_<vlan>.
  const std::filesystem::path& dir() const noexcept;

 private:
  struct Impl;
  explicit VdeSwitch(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace attest::net
