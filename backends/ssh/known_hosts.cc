#include "backends/ssh/known_hosts.h"

#include "attest/error.h"
#include "backends/ssh/fingerprint.h"
#include "lib/base/file.h"
#include "lib/base/owned_fd.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <libssh2.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace attest::ssh {
namespace {

std::string_view next_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  auto word = line.substr(0, line.find_first_of(" \t"));
  line.remove_prefix(word.size());
  return word;
}

// Hashed names need a keyed hash, which libssh2 has inside.
bool hash_matches(std::string_view hosts, const std::string& name) {
  auto free_session = [](LIBSSH2_SESSION* session) { libssh2_session_free(session); };
  std::unique_ptr<LIBSSH2_SESSION, decltype(free_session)> session(
      libssh2_session_init_ex(nullptr, nullptr, nullptr, nullptr), free_session);
  if (!session) return false;
  std::unique_ptr<LIBSSH2_KNOWNHOSTS, decltype(&libssh2_knownhost_free)> hosts_list(
      libssh2_knownhost_init(session.get()), libssh2_knownhost_free);
  // The key itself does not matter: one that differs says "mismatch", which is a match of the name.
  // A short one would not be taken.
  std::string key(64, 'A');
  auto line = std::string(hosts) + " ssh-ed25519 " + key;
  if (!hosts_list || libssh2_knownhost_readline(hosts_list.get(), line.data(), line.size(),
                                                LIBSSH2_KNOWNHOST_FILE_OPENSSH) != 0)
    return false;
  auto found =
      libssh2_knownhost_check(hosts_list.get(), name.c_str(), key.c_str(), key.size(),
                              LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_BASE64 |
                                  LIBSSH2_KNOWNHOST_KEY_ED25519,
                              nullptr);
  return found == LIBSSH2_KNOWNHOST_CHECK_MATCH || found == LIBSSH2_KNOWNHOST_CHECK_MISMATCH;
}

bool matches(std::string_view hosts, const std::string& name) {
  if (hosts.starts_with("|1|")) return hash_matches(hosts, name);
  bool found = false;
  for (auto& pattern : base::split(hosts, ',')) {
    const bool negated = pattern.starts_with('!');
    auto text = pattern.substr(negated ? 1 : 0);
    // Brackets are part of names with a port, not sets of characters.
    std::string escaped;
    for (char c : text) {
      if (c == '[' || c == ']' || c == '\\') escaped += '\\';
      escaped += c;
    }
    if (::fnmatch(escaped.c_str(), name.c_str(), FNM_CASEFOLD) != 0) continue;
    if (negated) return false;
    found = true;
  }
  return found;
}

}  // namespace

std::string known_name(const std::string& host, int port) {
  // In lower case, as ssh hashes and notes it.
  std::string name = host;
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return port == 22 ? name : "[" + name + "]:" + std::to_string(port);
}

std::vector<KnownKey> find_keys(std::string_view text, const std::string& host, int port) {
  std::vector<KnownKey> found;
  const auto name = known_name(host, port);
  std::size_t number = 0;
  for (auto& one : base::split(text, '\n')) {
    ++number;
    std::string_view line = base::trim(one);
    if (line.empty() || line.starts_with('#')) continue;
    auto word = next_word(line);
    const bool revoked = word == "@revoked";
    if (word.starts_with('@') && !revoked) continue;
    if (revoked) word = next_word(line);
    if (!matches(word, name)) continue;
    auto type = std::string(next_word(line));
    auto key = from_base64(next_word(line));
    if (!key || key_type(*key) != type) continue;
    found.push_back({number, *key, revoked, type});
  }
  return found;
}

std::string read_known_hosts(const std::filesystem::path& file) {
  // Not blocking: a fifo of that name would stop the loop.
  base::Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd && errno == ENOENT) return {};
  auto refuse = [&](const char* why) {
    return Error(Error::Kind::usage,
                 "the known host keys in '" + file.string() + "' cannot be read: " + why)
        .hint(
            "without them no host can be told from another; correct the file or "
            "ssh.known_hosts");
  };
  if (!fd) throw refuse(std::strerror(errno));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) throw refuse(std::strerror(errno));
  if (!S_ISREG(status.st_mode)) throw refuse("it is no regular file");
  std::string text;
  char buffer[16384];
  for (ssize_t count; (count = ::read(fd.get(), buffer, sizeof buffer)) != 0;) {
    if (count < 0) throw refuse(std::strerror(errno));
    text.append(buffer, static_cast<std::size_t>(count));
  }
  return text;
}

std::filesystem::path default_known_hosts() {
  const char* home = std::getenv("HOME");
  if (!home || !*home) {
    auto* user = ::getpwuid(::getuid());
    home = user ? user->pw_dir : "/root";
  }
  return std::filesystem::path(home) / ".ssh/known_hosts";
}

void add_known_key(const std::filesystem::path& file, const std::string& host, int port,
                   std::string_view key) {
  const auto folder = file.parent_path();
  if (!folder.empty() && !std::filesystem::exists(folder)) {
    std::error_code failure;
    std::filesystem::create_directories(folder, failure);
    if (failure) throw base::sys_error("making '" + folder.string() + "'", failure.value());
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all, failure);
  }
  base::Fd fd(base::check(::open(file.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600),
                          "opening '" + file.string() + "'"));
  std::string line = known_name(host, port) + " " + key_type(key) + " " + base64(key) + "\n";
  const off_t size = ::lseek(fd.get(), 0, SEEK_END);
  char last = '\n';
  if (size > 0 && ::pread(fd.get(), &last, 1, size - 1) == 1 && last != '\n') line = "\n" + line;
  // One write at the end: a line of another process does not get in between.
  if (::write(fd.get(), line.data(), line.size()) != ssize_t(line.size()))
    throw base::sys_error("writing to '" + file.string() + "'");
}

}  // namespace attest::ssh
