// The file in which ssh remembers hosts' keys: known_hosts(5), as text.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace attest::ssh {

/// A line about a host.
struct KnownKey {
  std::size_t line = 0;  ///< from 1
  std::string key;       ///< the bytes that the protocol sends
  bool revoked = false;
  std::string type;  ///< "ssh-ed25519"
};

/// The lines of `text` about `host` at `port`: by name, pattern or hash. Lines about certificate
/// authorities, and lines that are none, are passed over, as ssh does.
std::vector<KnownKey> find_keys(std::string_view text, const std::string& host, int port);

/// As the file has it: "web", or "[web]:2222".
std::string known_name(const std::string& host, int port);

/// The text of a file of known keys; "" if it does not exist. Throws Error{usage} for any other
/// reason not to read it: what cannot be read must not pass for "no such host".
std::string read_known_hosts(const std::filesystem::path& file);
/// The user's own file.
std::filesystem::path default_known_hosts();

/// Appends a line for that key; makes the file (0600) and its directory (0700). Throws Error{host}.
void add_known_key(const std::filesystem::path& file, const std::string& host, int port,
                   std::string_view key);

}  // namespace attest::ssh
