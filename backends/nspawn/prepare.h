// What must be there before a container is launched: directories, seed files, its cgroup, its
// network namespace with its cables, and the sockets on which it calls back.
#pragma once
#include "attest/backend.h"
#include "backends/nspawn/cgroup.h"
#include "backends/nspawn/command_line.h"
#include "lib/async/child.h"
#include "lib/base/fd.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace attest::nspawn {

/// The container's network namespace, and our ends of its cables, which go when this does.
class Links {
 public:
  /// Makes the namespace, and a cable from each VLAN to an eth<i> in it, as `plugs` does. Short
  /// calls to the kernel. Throws Error{host}; nothing is left then.
  explicit Links(const BackendContext& context);
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;
  ~Links();

  const base::Fd& netns() const noexcept { return netns_; }

 private:
  void remove() noexcept;

  std::shared_ptr<Plugs> plugs_;
  base::Fd netns_;
  std::vector<NetworkAttachment> plugged_;
};

/// One boot's parts.
struct Site {
  Launch launch;
  std::filesystem::path table;  ///< file with the mount_table()
  bool agent_dials = false;     ///< attest-agent in the image will connect to `listener`
  base::Fd listener, notify;
  std::unique_ptr<Links> links;  ///< null with the host's network
  std::unique_ptr<Cgroup> cgroup;
  bool removed = false;

  Site() = default;
  Site(const Site&) = delete;
  Site& operator=(const Site&) = delete;
  ~Site() { remove(); }
  /// Kills what is left in the cgroup, and removes everything that was made. Idempotent; coroutines
  /// may hold the Site for a moment longer.
  void remove() noexcept;
  /// What is to be started, any number of times.
  async::ChildSpec spec(const MachineConfig& config) const;
};

/// Where the cgroup of one boot belongs; each call gives another place. Throws Error{host}.
std::filesystem::path cgroup_place(const BackendContext& context);
/// `cgroup` is made unless it exists. Throws Error{usage} for an image or a toplevel that cannot be
/// booted, Error{host}; nothing is left then.
std::shared_ptr<Site> prepare(const BackendContext& context, std::filesystem::path cgroup);

/// The directory that the machine sees as /tmp/shared: one for all machines of a driver.
std::filesystem::path shared_directory(const BackendContext& context);

}  // namespace attest::nspawn
