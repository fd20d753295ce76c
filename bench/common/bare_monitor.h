// The other side of comparisons: a Firecracker (or its stand-in) driven by plain sockets, no
// attest.
#pragma once
#include <sys/types.h>
#include <string>

namespace bench {

/// One process of the monitor, whose files are in a directory of its own. Every failure ends the
/// program with a message.
class BareMonitor {
 public:
  /// Starts `program` in `dir`, which exists, and returns when its API answers.
  BareMonitor(const std::string& program, const std::string& dir);
  BareMonitor(const BareMonitor&) = delete;
  BareMonitor& operator=(const BareMonitor&) = delete;
  /// Kills it, and removes its sockets.
  ~BareMonitor();

  /// One request; a reply that is no success ends the program.
  void request(const std::string& method, const std::string& path, const std::string& body);
  /// A connection to `port` of the guest, by the vsock at `path`; tried again until it answers.
  static int connect_guest(const std::string& path, int port);

 private:
  std::string dir_;
  pid_t pid_ = 0;
  int api_ = -1;
};

}  // namespace bench
