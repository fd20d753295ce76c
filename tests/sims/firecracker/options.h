// The command line, as Firecracker's own parser takes it.
#pragma once
#include "tests/sims/common/version.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace attest::sims::firecracker {

struct Options {
  std::map<std::string, std::string> values;  ///< "api-sock" => path; defaults are filled in
  std::set<std::string> flags;                ///< "no-api"

  bool has(const std::string& flag) const { return flags.contains(flag); }
  const std::string* value(const std::string& name) const {
    auto found = values.find(name);
    return found == values.end() ? nullptr : &found->second;
  }
};

/// Throws Fault with the text of the mistake: exit code 153.
Options parse_options(const std::vector<std::string>& words, const Version& version);

}  // namespace attest::sims::firecracker
