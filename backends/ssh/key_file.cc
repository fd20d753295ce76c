#include "backends/ssh/key_file.h"

#include "backends/ssh/fingerprint.h"

namespace attest::ssh {
namespace {

constexpr std::string_view openssh_head = "-----BEGIN OPENSSH PRIVATE KEY-----";
constexpr std::string_view encrypted =
    "it is encrypted, and nobody can be asked for its passphrase; use a key without one "
    "(ssh-keygen -t ed25519 -N ''), or ssh.ssh_agent";

}  // namespace

std::string objection_to_key(std::string_view text, bool rsa_works) {
  std::string type;
  if (auto head = text.find(openssh_head); head != text.npos) {
    auto body = text.substr(head + openssh_head.size());
    auto bytes = from_base64(body.substr(0, body.find("-----")));
    std::string_view rest = bytes ? std::string_view(*bytes) : std::string_view();
    constexpr std::string_view magic("openssh-key-v1\0", 15);
    if (!rest.starts_with(magic)) return "it is damaged: what is inside is no OpenSSH key";
    rest.remove_prefix(magic.size());
    auto cipher = take_string(rest), kdf = take_string(rest), options = take_string(rest);
    auto count = take_number(rest);
    auto key = take_string(rest);
    if (!cipher || !kdf || !options || !count || !key) return "it is damaged";
    if (*cipher != "none") return std::string(encrypted);
    type = key_type(*key);
  } else if (text.find("-----BEGIN ") == text.npos || text.find("PRIVATE KEY-----") == text.npos) {
    if (text.starts_with("ssh-") || text.starts_with("ecdsa-"))
      return "it is a public key; give the file without .pub";
    return "it is not a private key in OpenSSH's or PEM's form";
  } else {
    if (text.find("ENCRYPTED") != text.npos) return std::string(encrypted);
    if (text.find("BEGIN RSA") != text.npos) type = "ssh-rsa";
  }
  if (type == "ssh-rsa" && !rsa_works)
    return "it is an RSA key: libssh2 1.10 cannot sign with RSA keys for OpenSSH 8.8 and newer "
           "(1.11 can); use ed25519";
  return {};
}

}  // namespace attest::ssh
