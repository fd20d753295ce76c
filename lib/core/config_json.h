// JSON text -> a JSON value, stricter than the library's own parser: no key twice, limits on size
// and depth, and syntax errors that say line, column and what stands there.
#pragma once
#include <nlohmann/json.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace attest::core::config {

using Json = nlohmann::json;

/// Texts longer than this (bytes) are refused: a value takes up to 30 times its text in memory.
inline constexpr std::size_t most_text = std::size_t{4} << 20;
/// Lists and objects within each other.
inline constexpr std::size_t most_depth = 32;

/// Parses one JSON text. A number that is no whole number of 64 bits comes as a binary value that
/// holds its digits as they were written (JSON has no binary values of its own), so that messages
/// can quote it. Throws Error{usage}.
Json parse_json(std::string_view text);

/// What came, in words: `the string "lots"`, "the number 1.5", "null", "a list", "an object".
std::string describe(const Json& value);

}  // namespace attest::core::config
