// The ssh-agent's side of a login: its keys, and signatures by them. libssh2's own code for it
// dials $SSH_AUTH_SOCK itself and blocks, which cannot be done inside the sandbox.
#pragma once
#include "attest/backend.h"
#include "lib/async/net.h"

#include <string>
#include <string_view>
#include <vector>

namespace attest::ssh {

/// A connection to the user's ssh-agent. Loop thread only.
class AgentKeys {
 public:
  struct Key {
    std::string blob;     ///< the bytes that the protocol sends
    std::string comment;  ///< "me@home"
  };

  explicit AgentKeys(Outside::Socket socket) : socket_(std::move(socket)) {}

  /// Throws Error{host}, Error{protocol}.
  Task<std::vector<Key>> list();
  /// Its signature of `data`, without the name of the method. Throws Error{host} where it refuses.
  Task<std::string> sign(std::string key, std::string data);

 private:
  Task<std::string> ask(std::string request);

  Outside::Socket socket_;
};

}  // namespace attest::ssh
