#include "lib/net/names.h"

#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <mutex>
#include <set>
#include <system_error>

namespace attest::net {
namespace {

constexpr auto hosts_path = "/etc/hosts", nsswitch_path = "/etc/nsswitch.conf";

// glibc compares names so.
std::string lower(std::string_view name) {
  std::string low(name);
  for (auto& letter : low)
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return low;
}

std::vector<std::string> words(std::string_view line) {
  std::vector<std::string> found(1);
  for (char letter : line.substr(0, line.find('#'))) {
    if (!std::isspace(static_cast<unsigned char>(letter)))
      found.back() += letter;
    else if (!found.back().empty())
      found.emplace_back();
  }
  if (found.back().empty()) found.pop_back();
  return found;
}

// One line of a hosts file with its end, without the names in `taken`.
std::string without(const std::string& line, const std::set<std::string>& taken) {
  auto kept = words(line);
  if (std::erase_if(kept, [&](auto& word) { return taken.contains(lower(word)); }) == 0)
    return line + "\n";
  return kept.size() > 1 ? base::join(kept, " ") + "\n" : "";
}

// What a line of nsswitch.conf says about hosts, trimmed; nullopt if it is about something else.
std::optional<std::string_view> services_for_hosts(std::string_view line) {
  line = base::trim(line.substr(0, line.find('#')));
  auto colon = line.find(':');
  if (colon == std::string_view::npos || base::trim(line.substr(0, colon)) != "hosts") return {};
  return base::trim(line.substr(colon + 1));
}

void cover(const std::filesystem::path& with, const std::filesystem::path& what) {
  base::check(::mount(with.c_str(), what.c_str(), nullptr, MS_BIND, nullptr),
              "mounting '" + with.string() + "' over '" + what.string() + "'");
}

// nscd answers over a socket, from the host's view.
void cover_nscd(const std::filesystem::path& dir) {
  std::set<std::filesystem::path> places;  // /var/run usually leads to /run
  for (auto path : {"/run/nscd", "/var/run/nscd"}) {
    std::error_code missing;
    auto place = std::filesystem::canonical(path, missing);
    if (!missing && std::filesystem::is_directory(place, missing)) places.insert(place);
  }
  if (places.empty()) return;
  auto empty = dir / "no-nscd";
  std::error_code code;
  std::filesystem::create_directory(empty, code);
  if (code) throw base::sys_error("making '" + empty.string() + "'", code.value());
  for (auto& place : places) cover(empty, place);
}

// Without such a file, glibc's own default counts.
void cover_nsswitch(const std::filesystem::path& dir) {
  auto original = base::try_read_file(nsswitch_path);
  auto changed = original ? files_first(*original) : std::nullopt;
  if (!changed) return;
  base::write_file(dir / "nsswitch.conf", *changed);
  cover(dir / "nsswitch.conf", nsswitch_path);
}

}  // namespace

// Process-wide, as /etc/hosts is.
struct HostNames::Registry {
  static Registry& get() {
    static Registry registry;
    return registry;
  }

  // Makes and mounts the file, once. What a failure leaves does no harm, and it may be tried again.
  void prepare(const std::filesystem::path& dir) {
    if (file) return;
    auto hosts = base::try_read_file(hosts_path);
    if (!hosts)
      throw base::sys_error("names of machines do not resolve in the test process: reading '" +
                            std::string(hosts_path) + "'")
          .hint("make it, if it is missing: an empty file is enough. Or use machine.address()");
    auto ours = dir / "hosts";
    std::string attempt = "making '" + ours.string() + "'";
    base::Fd fresh(base::check(
        ::open(ours.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644),
        attempt));
    base::check(::fchmod(fresh.get(), 0644), attempt);  // whatever the umask
    original = std::move(*hosts);
    write(fresh);
    cover_nscd(dir);
    cover_nsswitch(dir);
    cover(ours, hosts_path);
    file = std::move(fresh);
  }

  // In place, as the mount holds the inode; the old end goes after the new text has come, so that
  // no reader finds nothing.
  void write(const base::Fd& to) const {
    std::vector<std::vector<HostName>> newest_first;
    for (auto one = living.rbegin(); one != living.rend(); ++one)
      newest_first.push_back((*one)->names_);
    auto text = hosts_text(newest_first, original);
    for (std::size_t done = 0; done < text.size();) {
      auto count =
          ::pwrite(to.get(), text.data() + done, text.size() - done, static_cast<off_t>(done));
      if (count < 0 && errno == EINTR) continue;
      done += static_cast<std::size_t>(
          base::check(static_cast<int>(count), "writing the names of machines"));
    }
    base::check(::ftruncate(to.get(), static_cast<off_t>(text.size())),
                "writing the names of machines");
  }

  std::mutex mutex;
  base::Fd file;  ///< none: nothing is mounted yet
  std::string original;
  std::vector<const HostNames*> living;  ///< oldest first
};

std::vector<HostName> host_names(const Plan& plan) {
  std::vector<HostName> names;
  for (auto& [name, node] : plan.nodes) {
    if (node.nics.empty()) continue;
    names.emplace_back(node.nics.front().ipv4, name);
    names.emplace_back(node.nics.front().ipv6, name);
  }
  return names;
}

HostNames::HostNames(const std::filesystem::path& dir, std::vector<HostName> names)
    : names_(std::move(names)) {
  auto& registry = Registry::get();
  std::lock_guard lock(registry.mutex);
  registry.prepare(dir);
  registry.living.push_back(this);
  try {
    registry.write(registry.file);
  } catch (...) {
    registry.living.pop_back();
    throw;
  }
}

HostNames::~HostNames() {
  auto& registry = Registry::get();
  std::lock_guard lock(registry.mutex);
  std::erase(registry.living, this);
  try {
    registry.write(registry.file);
  } catch (const Error&) {
    // A shorter text fits where the longer one was; and names of what is gone harm little.
  }
}

void HostNames::set(std::vector<HostName> names) {
  auto& registry = Registry::get();
  std::lock_guard lock(registry.mutex);
  names_.swap(names);
  try {
    registry.write(registry.file);
  } catch (...) {
    names_.swap(names);
    throw;
  }
}

std::string hosts_text(const std::vector<std::vector<HostName>>& newest_first,
                       std::string_view original) {
  std::string ipv4, ipv6;
  std::set<std::string> taken;
  for (auto& names : newest_first) {
    auto newer = taken;
    for (auto& [address, name] : names) {
      if (newer.contains(lower(name))) continue;
      taken.insert(lower(name));
      auto& lines = address.find(':') == std::string::npos ? ipv4 : ipv6;
      lines += address + " " + name + "\n";
    }
  }
  std::string rest;
  auto lines = base::split(original, '\n');
  if (lines.back().empty()) lines.pop_back();  // behind the last line's end
  for (auto& line : lines) rest += without(line, taken);
  return ipv4 + ipv6 + rest;
}

std::optional<std::string> files_first(std::string_view nsswitch) {
  auto lines = base::split(nsswitch, '\n');
  if (lines.back().empty()) lines.pop_back();
  bool told = false, changed = false;
  for (auto& line : lines) {
    auto services = services_for_hosts(line);
    if (!services) continue;
    told = true;
    if (*services == "files" || services->starts_with("files ") || services->starts_with("files\t"))
      continue;
    line = "hosts: files dns";
    changed = true;
  }
  if (!told) lines.emplace_back("hosts: files dns");
  if (told && !changed) return std::nullopt;
  return base::join(lines, "\n") + "\n";
}

}  // namespace attest::net
