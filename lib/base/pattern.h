// Regular expressions that a test gives, over text that a guest has made: matching takes time in
// proportion to the text, and no stack, whatever both are. (std::regex goes back and forth.)
#pragma once
#include <bitset>
#include <string>
#include <string_view>
#include <vector>

namespace attest::base {

/// The common part of ECMAScript's and Python's syntax: . [] () (?:) | * + ? {m,n} and lazy ones, ^
/// $ (also at line ends), \d \w \s \b and their opposites, \n \t \xHH, (?i) in front. No
/// back-references, no look-around. Bytes are matched, so that a non-ASCII character is several and
/// cannot stand in []. A value; searching is safe from several threads.
class Pattern {
 public:
  /// Throws Error{usage} that quotes `regex` and says what is wrong with it.
  explicit Pattern(std::string_view regex);

  /// True if a part of `text` matches.
  bool found_in(std::string_view text) const;
  /// As it was given.
  const std::string& source() const noexcept { return source_; }

  using Set = std::bitset<256>;
  struct Step {
    enum class Op { set, split, jump, line_start, line_end, word, not_word, match } op;
    int first = 0;   ///< set: its index; split, jump: where to go on, from here
    int second = 0;  ///< split: the other way
  };

 private:
  std::string source_;
  std::vector<Set> sets_;
  std::vector<Step> steps_;
};

}  // namespace attest::base
