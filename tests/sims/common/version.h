// Which release a sim pretends to be.
#pragma once
#include <compare>
#include <string>

namespace attest::sims {

/// A release number: "1.16.1", "53.0".
struct Version {
  int major = 0, minor = 0, patch = 0;
  auto operator<=>(const Version&) const = default;
  /// With as many parts as given.
  std::string text(int parts = 3) const;
};

/// Throws Error{usage} if `text` is not numbers with dots.
Version parse_version(const std::string& text);
/// ATTEST_SIM_VERSION, or `otherwise` if it is not set.
Version version_from_environment(const std::string& otherwise);

}  // namespace attest::sims
