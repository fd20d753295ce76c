#include "tests/sims/firecracker/options.h"

#include "tests/sims/firecracker/fault.h"

namespace attest::sims::firecracker {

Options parse_options(const std::vector<std::string>& words, const Version& version) {
  static const std::set<std::string> with_value = {"api-sock",
                                                   "id",
                                                   "seccomp-filter",
                                                   "start-time-us",
                                                   "start-time-cpu-us",
                                                   "parent-cpu-time-us",
                                                   "config-file",
                                                   "metadata",
                                                   "log-path",
                                                   "level",
                                                   "module",
                                                   "metrics-path",
                                                   "describe-snapshot",
                                                   "http-api-max-payload-size",
                                                   "mmds-size-limit"};
  std::set<std::string> without = {"no-seccomp", "no-api",  "show-level",       "show-log-origin",
                                   "boot-timer", "version", "snapshot-version", "help"};
  if (version >= Version{1, 13, 0}) without.insert("enable-pci");
  Options options;
  options.values = {{"api-sock", "/run/firecracker.socket"},
                    {"id", "anonymous-instance"},
                    {"http-api-max-payload-size", "51200"}};
  std::set<std::string> seen;
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string name = words[i] == "-h" ? "help" : words[i];
    if (name.starts_with("--")) name.erase(0, 2);
    bool takes = with_value.contains(name);
    if (words[i] == name || (!takes && !without.contains(name)))
      if (words[i] != "-h")
        throw Fault("Found argument '" + words[i] +
                    "' which wasn't expected, or isn't valid in this context.");
    if (!seen.insert(name).second)
      throw Fault("The argument '" + name + "' was provided more than once.");
    if (!takes) {
      options.flags.insert(name);
    } else if (i + 1 == words.size() || words[i + 1].starts_with("--")) {
      throw Fault("The argument '" + name + "' requires a value, but none was supplied.");
    } else {
      options.values[name] = words[++i];
    }
  }
  if (options.has("help") || options.has("version")) return options;
  if (options.has("no-api") && !options.value("config-file"))
    throw Fault("Argument 'config-file' required, but not found.");
  if (options.has("no-seccomp") && options.value("seccomp-filter"))
    throw Fault("Argument 'seccomp-filter' cannot be used together with argument 'no-seccomp'.");
  return options;
}

}  // namespace attest::sims::firecracker
