// Hybrid vsock, as Firecracker and Cloud Hypervisor have it: a unix socket where the host asks for
// "CONNECT <port>", and "<path>_<port>" where the guest's own connections go. The guest behind it
// has no vsock: each port is a channel of the GuestVm, and so carries one connection at a time.
//
// Port 1024 (attest-agent on a virtio-serial port) counts as dialled by the guest as soon as its
// greeting comes; the bridge connects to "<path>_1024", again and again while nobody listens. A
// CONNECT 1024 takes the greeting instead where the port is free. Port 1234 (the backdoor's shell
// on hvc0) is only listened on, and open once the shell has said its first line.
#pragma once
#include "lib/async/net.h"
#include "tests/sims/common/guest_vm.h"
#include "tests/sims/common/trouble.h"

#include <memory>
#include <string>

namespace attest::sims {

struct VsockSetup {
  std::string path;  ///< as the monitor was given it
  /// A CONNECT line may come in pieces (Cloud Hypervisor from 47 on); else its first 10 bytes must
  /// be there at once.
  bool partial_lines = false;
  /// After pause and resume without a snapshot in between, connections from the host get no answer
  /// (Firecracker up to 1.16.1).
  bool deaf_after_pause = false;
  Trouble* trouble = nullptr;  ///< asked with "CONNECT <port>" and "DIAL <port>"; outlives it
};

/// Loop thread only. Frozen until the first resume(): connections are taken by the kernel's backlog
/// only.
class VsockBridge {
 public:
  /// `listener` is bound to setup.path, from listen_new(). Its path is never removed.
  VsockBridge(asio::any_io_executor loop, base::Fd listener, VsockSetup setup);
  VsockBridge(const VsockBridge&) = delete;
  VsockBridge& operator=(const VsockBridge&) = delete;
  /// Ends all connections.
  ~VsockBridge();

  /// The guest, after its start(); with `restored` its programs do not know that the host is
  /// another one, and are asked to greet. The bridge holds no reference after detach() or its end.
  void attach(GuestVm& vm, bool restored);
  void detach();

  /// Nothing moves until resume().
  void pause();
  void resume();
  /// The guest was saved: at the next resume() all connections end.
  void reset();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace attest::sims
