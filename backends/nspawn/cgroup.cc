#include "backends/nspawn/cgroup.h"

#include "attest/error.h"
#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>

#include <vector>

namespace attest::nspawn {
namespace {

namespace fs = std::filesystem;

// A process that has been killed is gone in milliseconds, unless it hangs in the kernel.
constexpr int longest_wait_ms = 5000;
constexpr int look_again_ms = 1;

// mountinfo writes blanks and backslashes as three octal digits.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::optional<std::string> v2_path(std::string_view cgroups) {
  for (auto& line : base::split(cgroups, '\n'))
    if (line.starts_with("0::")) return line.substr(3);
  return std::nullopt;
}

void write_quietly(const fs::path& file, const std::string& text) noexcept {
  try {
    base::write_once(file, text);
  } catch (const Error&) {
    // It went in the meantime, or the kernel has no such file.
  }
}

bool populated(const fs::path& cgroup) {
  auto events = base::try_read_file(cgroup / "cgroup.events");
  return events && events->find("populated 1") != std::string::npos;
}

void kill_all(const fs::path& cgroup) {
  if (fs::exists(cgroup / "cgroup.kill")) return write_quietly(cgroup / "cgroup.kill", "1");
  // Linux before 5.14.
  for (auto& entry : fs::recursive_directory_iterator(cgroup)) {
    if (entry.path().filename() != "cgroup.procs") continue;
    for (auto& pid : base::split(base::try_read_file(entry.path()).value_or(""), '\n'))
      if (!pid.empty() && pid != "0") ::kill(std::stoi(pid), SIGKILL);
  }
  for (auto& pid : base::split(base::try_read_file(cgroup / "cgroup.procs").value_or(""), '\n'))
    if (!pid.empty() && pid != "0") ::kill(std::stoi(pid), SIGKILL);
}

void remove_below(const fs::path& cgroup) {
  std::vector<fs::path> found;
  for (auto& entry : fs::directory_iterator(cgroup))
    if (entry.is_directory()) found.push_back(entry.path());
  for (auto& directory : found) {
    remove_below(directory);
    ::rmdir(directory.c_str());
  }
}

}  // namespace

std::optional<fs::path> own_cgroup(std::string_view mountinfo, std::string_view cgroups) {
  auto own = v2_path(cgroups);
  if (!own) return std::nullopt;
  for (auto& line : base::split(mountinfo, '\n')) {
    auto words = base::split(line, ' ');
    std::size_t dash = 6;
    while (dash < words.size() && words[dash] != "-") ++dash;
    if (dash + 1 >= words.size() || words[dash + 1] != "cgroup2") continue;
    std::string root = unescape(words[3]), place = unescape(words[4]);
    if (root == "/") return fs::path(place + (*own == "/" ? "" : *own));
    if (*own == root || own->starts_with(root + "/"))
      return fs::path(place + own->substr(root.size()));
  }
  return std::nullopt;
}

std::optional<fs::path> own_cgroup() {
  return own_cgroup(base::try_read_file("/proc/self/mountinfo").value_or(""),
                    base::try_read_file("/proc/self/cgroup").value_or(""));
}

Cgroup::Cgroup(fs::path path) : path_(std::move(path)) {
  if (::mkdir(path_.c_str(), 0755) != 0 && errno != EEXIST)
    throw base::sys_error("making the cgroup '" + path_.string() + "'");
}

bool Cgroup::limit_memory(int mib) noexcept {
  std::error_code unknown;
  if (!fs::exists(path_ / "memory.max", unknown)) return false;
  write_quietly(path_ / "memory.max", std::to_string(mib) + "M");
  return true;
}

Cgroup::~Cgroup() {
  try {
    if (!fs::exists(path_)) return;
    for (int waited = 0; waited < longest_wait_ms; waited += look_again_ms) {
      if (populated(path_)) {
        kill_all(path_);
      } else {
        remove_below(path_);
        // A directory may be busy for an instant after its last process.
        if (::rmdir(path_.c_str()) == 0 || errno != EBUSY) return;
      }
      ::poll(nullptr, 0, look_again_ms);
    }
  } catch (const std::exception&) {
    // Somebody else has removed it.
  }
}

}  // namespace attest::nspawn
