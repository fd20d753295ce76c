// The guest's serial port: a file, a socket for one client, the terminal, or nowhere.
#pragma once
#include "lib/async/net.h"
#include "lib/base/fd.h"
#include "tests/sims/cloud_hypervisor/refusal.h"

#include <memory>
#include <string>

namespace attest::sims::cloud_hypervisor {

/// Where the port leads, opened when the VM is created; it outlives the guest's boots.
class SerialEnd {
 public:
  /// `config` is VmConfig's "serial", or null. `replays`: what came before the first client of a
  /// socket is kept for it (from 53 on). Throws Refusal.
  SerialEnd(asio::any_io_executor loop, const json& config, bool replays);
  SerialEnd(const SerialEnd&) = delete;
  SerialEnd& operator=(const SerialEnd&) = delete;
  /// Removes the socket's path.
  ~SerialEnd();

  /// A new boot: the file is empty again. `port` is QEMU's end.
  void attach(base::Fd port);
  /// Takes what is there, at once, and lets go of the port.
  void detach();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace attest::sims::cloud_hypervisor
