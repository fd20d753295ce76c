// What the members of request bodies must be, with the words that Firecracker's deserializer
// (serde) has for those that are not.
#pragma once
#include "tests/sims/common/version.h"

#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace attest::sims::firecracker {

using nlohmann::json;

struct Shape;

struct Member {
  std::string name;
  /// "string", "bool", "u8", "u16", "u32", "u64", "list", "object", "any", or "one" (of
  /// `variants`).
  std::string type;
  bool required = false;
  Version since{};                          ///< before, it is unknown
  std::shared_ptr<const Shape> inner = {};  ///< of an object, or of a list's items
  std::vector<std::string> variants = {};
};

struct Shape {
  std::vector<Member> members;
  bool open = false;  ///< unknown members are fine
};

/// The body of a request, or one object of a config file. Throws Fault with serde's words, without
/// what stands before them. `text` is the whole document: for "at line 1 column 20".
json parse_body(std::string_view text, const Shape& shape, const Version& version);
void check_shape(const json& value, const Shape& shape, const Version& version,
                 std::string_view text);

/// The shapes of the endpoints; by the first word of the path ("drives"), with "patch " before
/// those of PATCH requests. Null for none. Those that came later than `version` are null, too.
const Shape* shape_of(std::string_view endpoint, const Version& version);

}  // namespace attest::sims::firecracker
