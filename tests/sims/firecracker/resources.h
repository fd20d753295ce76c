// What was configured before the start: the devices with what is open for them. Endpoint bodies are
// kept as they came (checked by shape.h).
#pragma once
#include "lib/base/fd.h"
#include "tests/sims/common/guest_description.h"
#include "tests/sims/common/version.h"

#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <vector>

namespace attest::sims::firecracker {

using nlohmann::json;

/// A body, and what was opened for it.
struct Device {
  json config;
  std::shared_ptr<base::Fd> file;
};

struct Resources {
  json machine = {{"vcpu_count", 1},
                  {"mem_size_mib", 128},
                  {"smt", false},
                  {"track_dirty_pages", false},
                  {"huge_pages", "None"}};
  json boot_source, vsock, balloon, entropy, serial, cpu_config, mmds_config;
  std::shared_ptr<base::Fd> kernel, initrd;
  std::vector<Device> drives, nics;
  std::vector<json> pmem;
  base::Fd vsock_listener;
  bool pci = false;  ///< --enable-pci

  // Each throws Fault with the text below "Drive config error: " and the like, and changes nothing
  // then.
  void put_machine(const json& body);  ///< PATCH, too
  void put_boot_source(const json& body);
  void put_drive(const json& body);
  void put_nic(const json& body);
  void put_pmem(const json& body);
  void put_vsock(const json& body);
  void put_balloon(const json& body);

  /// GET /vm/config.
  json full_config() const;
  /// What a state file needs to have the same devices again.
  json saved() const;
  /// The other way: opens everything anew. Throws Fault.
  void restore(const json& saved);

  /// Throws Fault for a kernel that this release does not boot. For InstanceStart.
  void check_kernel(const Version& version) const;
  /// The machine; `boot`: with kernel and command line, which a restored one does not need.
  GuestDescription describe(bool boot) const;
};

/// A rate_limiter as numbers a second.
GuestRate rate_of(const json& body, const std::string& member = "rate_limiter");

/// /dev/net/tun for an interface, made if it is not there, with IFF_VNET_HDR. Throws Fault.
base::Fd open_tap(const std::string& name);
base::Fd open_drive(const json& config);
base::Fd bind_vsock(const std::string& path);

}  // namespace attest::sims::firecracker
