// Real sshd processes for tests, in namespaces that end with the test program: whatever a test
// leaves behind ends with it.
#pragma once
#include "attest/config.h"
#include "lib/async/child.h"
#include "lib/async/loop.h"
#include "lib/base/file.h"

#include <memory>
#include <string>
#include <vector>

namespace attest::ssh {

/// Enters new mount, pid and network namespaces with what sshd needs there, and returns in a child
/// there. Where that is not permitted it returns in this process, and can_run_sshd() says why not.
void enter_test_namespaces();
/// "" or why there can be no sshd.
const std::string& can_run_sshd();

/// What the users root and attester log in with.
inline constexpr const char* password = "sesame";

/// Key pairs for all tests, made once: "user", "other" (not let in), "host", "host2".
std::string key_path(const std::string& name);
/// The fingerprint as ssh-keygen -l prints it.
std::string fingerprint_of(const std::string& name);
/// The public key's line: "ssh-ed25519 AAAA...".
std::string public_line(const std::string& name);

/// One sshd on an address of loopback.
class Sshd {
 public:
  struct Options {
    std::string address = "127.0.0.1";
    int port = 22;
    std::string host_key = "host";
    std::string subsystem = "sftp internal-sftp";
    std::string more;  ///< lines of sshd_config, which come first
  };
  Sshd(async::Loop& loop, Options options);
  Sshd(const Sshd&) = delete;
  Sshd& operator=(const Sshd&) = delete;
  ~Sshd();

  /// A config that gets in as root with the right key.
  SshConfig config() const;
  /// The processes of its connections.
  std::vector<int> sessions() const;
  /// Sends a signal to each of them.
  void signal_sessions(int number) const;
  /// Ends the listener, and its sessions by signal 9.
  void kill();

 private:
  Task<void> run();
  Task<void> end();

  async::Loop& loop_;
  Options options_;
  base::TempDir dir_;
  std::unique_ptr<async::Child> child_;
};

}  // namespace attest::ssh
