// What can be said about a private key before it is used: that libssh2 will not take it.
#pragma once
#include <string>
#include <string_view>

namespace attest::ssh {

/// Why the private key in `text` cannot be used, with the remedy; "" if nothing speaks against
/// it. `rsa_works`: libssh2 can sign with RSA keys as OpenSSH 8.8 and newer want it. Pure.
std::string objection_to_key(std::string_view text, bool rsa_works);

}  // namespace attest::ssh
