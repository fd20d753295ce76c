// The other side of comparisons: a backdoor shell spoken to with plain sockets, no attest.
#pragma once
#include <string>

namespace bench {

/// A connected backdoor shell. Every failure ends the program with a message.
class BareShell {
 public:
  /// Takes a connected socket.
  explicit BareShell(int fd) : fd_(fd) {}
  BareShell(BareShell&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  ~BareShell();

  /// Reads until `text` has come.
  void await(const std::string& text);
  void send(const std::string& text);
  /// One command by the nixpkgs driver's wire protocol: `timeout ... bash -c ... | base64`, then
  /// the exit code in a second round trip. Returns that code.
  int nixpkgs_execute(const std::string& command);

 private:
  std::string line();
  int fd_;
  std::string pending_;
};

/// A unix socket that listens at `path`.
int listen_at(const std::string& path);
/// The next connection to it.
int accept_from(int listener);
/// Connects to a listening unix socket, waiting up to 10 s for it to appear.
int connect_to(const std::string& path);

}  // namespace bench
