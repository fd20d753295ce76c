// A VDE switch's socket, served by this process: QEMU's `-netdev vde,sock=DIR`, vde_plug and all
// else that uses libvdeplug joins the in-process switch, each client by a port of its own, and no
// vde_switch runs.
#pragma once
#include "lib/async/net.h"
#include "lib/net/switching/port.h"

#include <filesystem>
#include <functional>
#include <memory>

namespace attest::net {

/// Loop thread only, construction and destruction too.
class VdeListener {
 public:
  /// Makes the directory `dir`, mode 0700 (what was left over there is removed), and listens in it:
  /// clients can connect as soon as this returns. `joined` gets the port of each client that does,
  /// on the loop thread and never from within this call. The port ends when the client leaves.
  /// Throws Error{host} if that cannot be, also because the path is too long for clients.
  VdeListener(asio::any_io_executor loop, std::filesystem::path dir,
              std::function<void(std::shared_ptr<Port>)> joined);
  VdeListener(const VdeListener&) = delete;
  VdeListener& operator=(const VdeListener&) = delete;
  /// Ends the handshakes under way and removes the directory. Ports that have joined stay.
  ~VdeListener();

  /// What clients want as the switch's name: `sock=` of QEMU, QEMU_VDE_SOCKET_<vlan>.
  const std::filesystem::path& dir() const noexcept;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with the coroutines that serve clients
};

}  // namespace attest::net
