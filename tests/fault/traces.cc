#include "traces.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

namespace attest_test {

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::set<std::string> traces(const std::string& temp, const std::string& machine) {
  std::set<std::string> all;
  auto list = [&](const std::string& folder, const std::string& kind) {
    std::error_code gone;
    for (auto& entry : std::filesystem::directory_iterator(folder, gone))
      all.insert(kind + " " + entry.path().string());
  };
  list("/sys/class/net", "interface");
  list("/run/netns", "namespace");
  list("/run/systemd/nspawn", "container");
  list(temp, "file");
  std::error_code gone;
  // Others' cgroups come and go meanwhile.
  std::filesystem::recursive_directory_iterator entry("/sys/fs/cgroup", gone), end;
  for (; !gone && entry != end; entry.increment(gone))
    if (entry->is_directory(gone) &&
        entry->path().string().find("-" + machine) != std::string::npos)
      all.insert("cgroup " + entry->path().string());
  std::istringstream mounts(slurp("/proc/self/mountinfo"));
  for (std::string line; std::getline(mounts, line);)
    all.insert("mount " + line.substr(line.find(' ')));
  std::istringstream sockets(slurp("/proc/net/unix"));
  for (std::string line; std::getline(sockets, line);)
    if (line.find(temp) != std::string::npos || line.find("/proc/driver") != std::string::npos)
      all.insert("socket " + line.substr(line.rfind(' ')));
  return all;
}

std::set<std::string> without(const std::set<std::string>& after,
                              const std::set<std::string>& before) {
  std::set<std::string> added;
  std::set_difference(after.begin(), after.end(), before.begin(), before.end(),
                      std::inserter(added, added.end()));
  return added;
}

}  // namespace attest_test
