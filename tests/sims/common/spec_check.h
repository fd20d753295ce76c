// Requests against the monitor's own API description (OpenAPI 3 or Swagger 2, YAML).
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <string>

namespace attest::sims {

/// Finds what is wrong with a request: an unknown path or method, a body where none is described or
/// none where one is required, unknown and missing members, types, enums, minimum and maximum.
class SpecCheck {
 public:
  /// Without a description: everything is right.
  SpecCheck();
  /// Reads a file. Throws Error{usage} naming it.
  explicit SpecCheck(const std::string& file);
  /// `file` in the folder that ATTEST_SIM_SPECS names; checks nothing if the variable is not set.
  static SpecCheck from_environment(const std::string& file);
  SpecCheck(SpecCheck&&) noexcept;
  SpecCheck& operator=(SpecCheck&&) noexcept;
  ~SpecCheck();

  /// "" if the request is as described, else where and what: "PUT /vsock: unknown member 'uds'".
  /// `path` is without the base path or server prefix; `body` is null if there was none.
  std::string problem(const std::string& method, const std::string& path,
                      const nlohmann::json* body) const;

 private:
  struct Document;
  std::unique_ptr<Document> document_;
};

}  // namespace attest::sims
