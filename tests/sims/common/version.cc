#include "tests/sims/common/version.h"

#include "attest/error.h"

#include <cstdio>
#include <cstdlib>

namespace attest::sims {

std::string Version::text(int parts) const {
  std::string result = std::to_string(major);
  if (parts > 1) result += "." + std::to_string(minor);
  if (parts > 2) result += "." + std::to_string(patch);
  return result;
}

Version parse_version(const std::string& text) {
  Version version;
  int used = 0;
  int found = std::sscanf(text.c_str(), "%d.%d%n.%d%n", &version.major, &version.minor, &used,
                          &version.patch, &used);
  if (found < 2 || used != static_cast<int>(text.size()))
    throw Error(Error::Kind::usage,
                "'" + text + "' is not a version; expected two or three numbers, such as 1.16.1");
  return version;
}

Version version_from_environment(const std::string& otherwise) {
  const char* text = std::getenv("ATTEST_SIM_VERSION");
  return parse_version(text && *text ? text : otherwise);
}

}  // namespace attest::sims
