// The command line.
#pragma once
#include "tests/sims/cloud_hypervisor/refusal.h"
#include "tests/sims/common/version.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace attest::sims::cloud_hypervisor {

struct Options {
  /// By the flag's name without dashes; flags without a value have "".
  std::map<std::string, std::vector<std::string>> values;

  bool has(const std::string& name) const { return values.contains(name); }
  /// The first value; "" if there is none.
  std::string value(const std::string& name) const {
    auto found = values.find(name);
    return found == values.end() || found->second.empty() ? "" : found->second.front();
  }
};

/// Throws Refusal for flags that this version has not.
Options parse_options(const std::vector<std::string>& words, const Version& version);
/// "path=/x,readonly=on" and the like: members by key; a first part without '=' is under `bare`.
std::map<std::string, std::string> parse_parts(const std::string& value,
                                               const std::string& bare = "path");
/// The VmConfig of the flags; null if they describe no VM.
json config_of(const Options& options);

}  // namespace attest::sims::cloud_hypervisor
