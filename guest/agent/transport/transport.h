// Where hosts come from. Each transport makes connections, and makes new ones when they end; it
// serves until it is destroyed, which ends what its hosts have begun.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "guest/agent/operation.h"

namespace attest::agent {

class Transport {
 public:
  virtual ~Transport() = default;
};

/// The virtio-serial port of that name, when it is there; greets each time that a host opens it.
std::unique_ptr<Transport> serve_port(Services services, std::string name);
/// A vsock port on any CID; each connection is a session of its own.
std::unique_ptr<Transport> serve_vsock(Services services, std::uint32_t port);
/// A unix stream socket at `path`, mode 0600; a stale one is replaced.
std::unique_ptr<Transport> serve_unix(Services services, std::string path);
/// Connects to a vsock port of `cid` (2 is the host) and connects again whenever that ends.
std::unique_ptr<Transport> dial_vsock(Services services, std::uint32_t cid, std::uint32_t port);
/// The same to the unix stream socket at `path`; null for one that is too long.
std::unique_ptr<Transport> dial_unix(Services services, const std::string& path);
/// Descriptors 0 and 1; stops the loop when the host is gone.
std::unique_ptr<Transport> serve_stdio(Services services);

}  // namespace attest::agent
