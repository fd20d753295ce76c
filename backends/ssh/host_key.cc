#include "backends/ssh/host_key.h"

#include "backends/ssh/fingerprint.h"
#include "backends/ssh/known_hosts.h"
#include "lib/base/text.h"

#include <algorithm>
#include <filesystem>

namespace attest::ssh {
namespace {

using Kind = Error::Kind;

std::filesystem::path file_of(const SshConfig& config) {
  return config.known_hosts.empty() ? default_known_hosts()
                                    : std::filesystem::path(config.known_hosts);
}

// Where keys of hosts stand, the user's own first.
std::vector<std::filesystem::path> files_of(const SshConfig& config) {
  if (!config.known_hosts.empty()) return {file_of(config)};
  return {file_of(config), "/etc/ssh/ssh_known_hosts"};
}

struct Found : KnownKey {
  std::filesystem::path file;
};

std::vector<Found> known_keys(const SshConfig& config) {
  std::vector<Found> all;
  for (auto& file : files_of(config))
    for (auto& key : find_keys(read_known_hosts(file), config.host, config.port))
      all.push_back({std::move(key), file});
  return all;
}

// An RSA key signs in three ways, two of which have names of their own.
bool is_method_of(std::string_view method, const std::vector<Found>& keys) {
  return std::any_of(keys.begin(), keys.end(), [&](const Found& key) {
    return !key.revoked &&
           (method == key.type || (key.type == "ssh-rsa" && method.starts_with("rsa-sha2")));
  });
}

std::string ask_for_key(const SshConfig& config, const std::string& type) {
  auto kind = type.starts_with("ssh-") ? type.substr(4) : type;
  return "ssh-keyscan -p " + std::to_string(config.port) + " " + config.host +
         " | ssh-keygen -lf -   (or on the host: ssh-keygen -lf /etc/ssh/ssh_host_" +
         kind.substr(0, kind.find('-')) + "_key.pub)";
}

[[noreturn]] void refuse_changed(const SshConfig& config, const Found& known,
                                 std::string_view key) {
  const auto name = known_name(config.host, config.port);
  throw Error(Kind::usage, "THE HOST KEY OF '" + name +
                               "' IS NOT THE KNOWN ONE: it was installed anew, or somebody else "
                               "answers in its place")
      .attach("keys", "it showed " + key_type(key) + " " + fingerprint(key) + "\nknown is   " +
                          known.type + " " + fingerprint(known.key) + "\n           (" +
                          known.file.string() + ", line " + std::to_string(known.line) + ")")
      .hint("if the new key is right (" + ask_for_key(config, key_type(key)) +
            "), remove the old one: ssh-keygen -f " + known.file.string() + " -R '" + name + "'");
}

}  // namespace

void prefer_known_keys(Session& session, const SshConfig& config) {
  // With a pin no file counts.
  auto keys = config.fingerprint.empty() ? known_keys(config) : std::vector<Found>{};
  const char** supported = nullptr;
  const int count =
      libssh2_session_supported_algs(session.raw(), LIBSSH2_METHOD_HOSTKEY, &supported);
  if (count <= 0) return;
  std::vector<std::string> methods(supported, supported + count);
  libssh2_free(session.raw(), static_cast<void*>(supported));
  // A pin does not say of what kind it is; of a host's keys people pin this one.
  std::stable_partition(methods.begin(), methods.end(), [&](const std::string& method) {
    return config.fingerprint.empty() ? is_method_of(method, keys) : method == "ssh-ed25519";
  });
  libssh2_session_method_pref(session.raw(), LIBSSH2_METHOD_HOSTKEY,
                              base::join(methods, ",").c_str());
}

std::string check_host_key(Session& session, const SshConfig& config) {
  std::size_t size = 0;
  int ignored = 0;
  const char* bytes = libssh2_session_hostkey(session.raw(), &size, &ignored);
  if (!bytes) throw session.failure("asking " + session.peer() + " for its key");
  const std::string_view key(bytes, size);
  const auto type = key_type(key), print = fingerprint(key);
  const auto name = known_name(config.host, config.port);

  if (!config.fingerprint.empty()) {
    std::string wanted(base::trim(config.fingerprint));
    while (wanted.ends_with('=')) wanted.pop_back();
    if (wanted == print) return {};
    throw Error(Kind::usage, "THE HOST KEY OF '" + name + "' IS NOT THE PINNED ONE: it showed " +
                                 type + " " + print + ", and ssh.fingerprint is " + wanted)
        .hint("a host has a key of each kind; pin this kind's if it is right: " +
              ask_for_key(config, type));
  }

  const auto file = file_of(config);
  const auto keys = known_keys(config);
  const Found* other = nullptr;
  bool known = false;
  for (auto& one : keys) {
    if (one.key != key) {
      if (!one.revoked && (!other || one.type == type)) other = &one;
      continue;
    }
    if (one.revoked)
      throw Error(Kind::usage, "the key of host '" + name + "' (" + type + " " + print +
                                   ") was revoked: " + one.file.string() + ", line " +
                                   std::to_string(one.line));
    known = true;
  }
  if (known) return {};
  // Also where only another kind is known: the host was asked for that kind, and did not show it.
  if (other) refuse_changed(config, *other, key);
  if (!config.accept_new)
    throw Error(Kind::usage, "the key of host '" + name + "' is not known: it showed " + type +
                                 " " + print + ", and " + file.string() + " does not have the host")
        .hint("compare it (" + ask_for_key(config, type) + "), then set ssh.fingerprint to '" +
              print + "', or set ssh.accept_new to have the first key that is seen noted down");
  add_known_key(file, config.host, config.port, key);
  return "the key of host '" + name + "' (" + type + " " + print + ") was new and is now in " +
         file.string();
}

}  // namespace attest::ssh
