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
  /// stdin and stdout of `command` (a unix stream socket), run by sh in the host's network; its
  /// stderr is ours. Once the socket is closed it gets the end of its input, a second later SIGTERM
  /// and then SIGKILL, with its process group. At most max_text bytes: Error{usage}.
  base::Fd run(std::string command);
  /// Once the returned socket is closed, by whatever (SIGKILL for everybody included), kills what
  /// is left in the cgroup `directory` (of cgroup2, in the host's mounts) and below, and removes
  /// it. Refuses, with Error{host}, what is no cgroup and one that holds the doorman.
  base::Fd sweep_cgroup(std::string directory);

 private:
  std::pair<base::Fd, DoorReply> ask(const DoorRequest& request);

  base::Fd door_;
};

}  // namespace attest::sandbox
