// Sockets of the host's network for the tests inside: the client of the process that stayed
// outside. Whoever needs the outer network (ssh, port forwarding, attach) asks here.
#pragma once
#include "lib/base/fd.h"
#include "lib/sandbox/door_codec.h"

#include <chrono>
#include <string>
#include <utility>

namespace attest::sandbox {

/// Hands in sockets from outside. Every call blocks; safe from several threads, none of which
/// waits for another's call: each request carries a socket of its own for the answer.
class Doorman {
 public:
  /// In the host's network already: does the work itself, in the calling thread. Then a timeout
  /// does not cut name resolution.
  Doorman() = default;
  /// Asks the process at the other end of `door`.
  explicit Doorman(base::Fd door) : door_(std::move(door)) {}
  Doorman(const Doorman&) = delete;
  Doorman& operator=(const Doorman&) = delete;

  /// A TCP connection (blocking, close-on-exec) from the host to `host`, a name or an address;
  /// its addresses are tried in turn. Throws Error{host} with the doorman's words, also when
  /// `timeout` passes.
  base::Fd dial(std::string host, int port, std::chrono::milliseconds timeout);
  /// A listening TCP socket on one of the host's addresses, and its port; port 0 picks one.
  /// Throws Error{host}.
  std::pair<base::Fd, int> listen(std::string address, int port);
  /// A connection to the user's ssh-agent. Throws Error{host} if there is none.
  base::Fd ssh_agent();

 private:
  std::pair<base::Fd, DoorReply> ask(const DoorRequest& request);

  base::Fd door_;
};

}  // namespace attest::sandbox
