// Names of machines in the test process: its view of /etc/hosts is a file of ours, in the mount
// namespace of the run. The host's own files are read and never written.
#pragma once
#include "lib/net/plan.h"

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace attest::net {

/// An address, and a name that leads to it: {"192.168.1.2", "web"}.
using HostName = std::pair<std::string, std::string>;

/// What leads from the test process, which is on every VLAN, to each machine: its addresses on the
/// first VLAN of its own list.
std::vector<HostName> host_names(const Plan& plan);

/// While it lives, its names resolve in this process and in all that shares its mount namespace.
/// Several may live at once, on any threads; of equal names those of the newest count, and all of
/// them come before what /etc/hosts had when the first was made. The first one mounts, and what it
/// mounts stays to the end of the mount namespace. Only for a mount namespace of our own, whose
/// mounts are private.
class HostNames {
 public:
  /// `dir` is writable and private; it may be removed at any time after. Its files are mounted over
  /// /etc/hosts and, where needed, over /etc/nsswitch.conf (so that glibc asks files first; 2.33
  /// and newer take notice when they have read it before) and nscd's directory (so that nobody
  /// answers for the host). Throws Error{host}, if /etc/hosts is missing, too; nothing is named
  /// then.
  HostNames(const std::filesystem::path& dir, std::vector<HostName> names);
  HostNames(const HostNames&) = delete;
  HostNames& operator=(const HostNames&) = delete;
  /// Takes its names away.
  ~HostNames();

  /// Has these names from now on, instead of those before. Throws Error{host} if they could not be
  /// written.
  void set(std::vector<HostName> names);

 private:
  struct Registry;
  std::vector<HostName> names_;
};

/// The content of /etc/hosts: lines of IPv4, lines of IPv6, then `original`. A name in an earlier
/// list is left out of later ones, and of `original`: with "multi on" in host.conf both would
/// answer, and a loopback address before ours.
std::string hosts_text(const std::vector<std::vector<HostName>>& newest_first,
                       std::string_view original);

/// nsswitch.conf with "hosts: files dns"; nullopt if hosts are looked for in files first as it is.
std::optional<std::string> files_first(std::string_view nsswitch);

}  // namespace attest::net
