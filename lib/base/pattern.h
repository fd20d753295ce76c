// Regular expressions that a test gives, over text that a guest has made: matching takes time in
// proportion to the text, and no stack, whatever both are. (std::regex goes back and forth.)
#pragma once
#include <memory>
#include <string>
#include <string_view>

namespace re2 {
class RE2;
}

namespace attest::base {

/// RE2's syntax, which is Python's and ECMAScript's without back-references and look-around; ^ and
/// $ also match at line ends. A value; searching is safe from several threads.
class Pattern {
 public:
  /// Throws Error{usage} that quotes `regex` and says what is wrong with it.
  explicit Pattern(std::string_view regex);

  /// True if a part of `text`, which is UTF-8, matches.
  bool found_in(std::string_view text) const;
  /// As it was given.
  const std::string& source() const noexcept { return source_; }

 private:
  std::string source_;
  std::shared_ptr<const re2::RE2> compiled_;
};

}  // namespace attest::base
