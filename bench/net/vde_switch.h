// A vde_switch process, to compare with.
#pragma once
#include "lib/async/net.h"

#include <filesystem>
#include <memory>

namespace bench {

/// One running `vde_switch --hub`: a hub, so that 802.1Q frames and moved MACs pass. Loop thread
/// only, the destructor too.
class VdeSwitch {
 public:
  /// Starts it on the directory `dir` (made by it, removed first if left over; its parent must
  /// exist) and returns once it answers. Throws Error{host} if the program is missing or fails,
  /// Error{timeout}.
  static attest::Task<std::unique_ptr<VdeSwitch>> start(std::filesystem::path dir,
                                                        attest::Deadline deadline);
  VdeSwitch(const VdeSwitch&) = delete;
  VdeSwitch& operator=(const VdeSwitch&) = delete;
  /// Kills and reaps it, and removes the directory.
  ~VdeSwitch();

  /// What its peers connect to.
  const std::filesystem::path& dir() const noexcept;

 private:
  struct Impl;
  explicit VdeSwitch(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace bench
