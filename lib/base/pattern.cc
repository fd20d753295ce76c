#include "lib/base/pattern.h"

#include "attest/error.h"

#include <algorithm>
#include <cctype>
#include <optional>

namespace attest::base {
namespace {

using Step = Pattern::Step;
using Op = Step::Op;
using Set = Pattern::Set;
using Code = std::vector<Step>;

constexpr std::size_t most_steps = 20'000;
constexpr int deepest = 200;
constexpr int most_repeats = 1000;

std::size_t index_of(char c) { return static_cast<unsigned char>(c); }

Set range(int from, int to) {
  Set set;
  for (int c = from; c <= to; ++c) set.set(static_cast<std::size_t>(c));
  return set;
}

Set word_bytes() { return range('a', 'z') | range('A', 'Z') | range('0', '9') | range('_', '_'); }

// Recursive descent. Each piece of code is position-independent, so that {m,n} can copy it.
class Parser {
 public:
  Parser(std::string_view text, std::vector<Set>& sets) : rest_(text), sets_(sets) {
    if (take("(?i)")) fold_case_ = true;
  }

  Code parse() {
    Code code = alternatives(0);
    if (!rest_.empty()) fail("there is a ')' too many");
    code.push_back({Op::match});
    return code;
  }

  [[noreturn]] static void fail(const std::string& why) { throw Error(Error::Kind::usage, why); }

 private:
  bool take(std::string_view what) {
    if (!rest_.starts_with(what)) return false;
    rest_.remove_prefix(what.size());
    return true;
  }
  char next() {
    if (rest_.empty()) fail("it ends too early");
    char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }

  static void append(Code& code, const Code& more) {
    if (code.size() + more.size() > most_steps) fail("it is too long");
    code.insert(code.end(), more.begin(), more.end());
  }
  static int size(const Code& code) { return static_cast<int>(code.size()); }

  Code alternatives(int depth) {
    if (depth > deepest) fail("its groups are too deep");
    Code all = sequence(depth);
    while (take("|")) {
      Code other = sequence(depth);
      Code both{{Op::split, 1, size(all) + 2}};
      append(both, all);
      both.push_back({Op::jump, size(other) + 1});
      append(both, other);
      all = std::move(both);
    }
    return all;
  }

  Code sequence(int depth) {
    Code code;
    while (!rest_.empty() && rest_.front() != '|' && rest_.front() != ')')
      append(code, repeated(atom(depth)));
    return code;
  }

  static Code optional(const Code& code) {
    Code made{{Op::split, 1, size(code) + 1}};
    append(made, code);
    return made;
  }
  static Code any_number(const Code& code) {
    Code made{{Op::split, 1, size(code) + 2}};
    append(made, code);
    made.push_back({Op::jump, -size(code) - 1});
    return made;
  }

  // Digits and a comma between braces; other braces stand for themselves.
  bool take_counts(int& least, std::optional<int>& most) {
    auto end = rest_.find('}');
    if (!rest_.starts_with('{') || end == rest_.npos) return false;
    auto inside = rest_.substr(1, end - 1);
    auto comma = inside.find(',');
    auto first = inside.substr(0, comma);
    auto second = comma == inside.npos ? first : inside.substr(comma + 1);
    auto number = [](std::string_view digits) {
      if (digits.size() > 4) fail("it repeats too often");
      int value = 0;
      for (char c : digits) value = value * 10 + (c - '0');
      if (value > most_repeats) fail("it repeats too often");
      return value;
    };
    auto digits = [](std::string_view text) {
      return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    };
    if (first.empty() || !digits(first) || !digits(second)) return false;
    least = number(first);
    if (!second.empty()) most = number(second);
    if (most && *most < least) fail("the counts in {} are the wrong way round");
    rest_.remove_prefix(end + 1);
    return true;
  }

  Code repeated(Code code) {
    for (;;) {
      int least = 0;
      std::optional<int> most;
      if (take("*")) {
      } else if (take("+")) {
        least = 1;
      } else if (take("?")) {
        most = 1;
      } else if (!take_counts(least, most)) {
        return code;
      }
      take("?");  // a lazy one finds the same
      Code made;
      for (int i = 0; i < least; ++i) append(made, code);
      if (!most) append(made, any_number(code));
      for (int i = least; most && i < *most; ++i) append(made, optional(code));
      code = std::move(made);
    }
  }

  Code one_of(Set set) {
    if (fold_case_)
      for (int c = 'a'; c <= 'z'; ++c) {
        auto low = static_cast<std::size_t>(c), up = static_cast<std::size_t>(c - 'a' + 'A');
        if (set[low] || set[up]) set.set(low).set(up);
      }
    auto known = std::find(sets_.begin(), sets_.end(), set);
    int index = static_cast<int>(known - sets_.begin());
    if (known == sets_.end()) sets_.push_back(set);
    return {{Op::set, index}};
  }

  Code atom(int depth) {
    char c = next();
    switch (c) {
      case '(': {
        if (!take("?:") && rest_.starts_with('?')) fail("(? can only be (?: or a leading (?i)");
        Code inside = alternatives(depth + 1);
        if (!take(")")) fail("a ')' is missing");
        return inside;
      }
      case '.':
        return one_of(~range('\n', '\n'));
      case '^':
        return {{Op::line_start}};
      case '$':
        return {{Op::line_end}};
      case '[':
        return one_of(bracket());
      case '*':
      case '+':
      case '?':
        fail(std::string("there is nothing that '") + c + "' could repeat");
      case '\\':
        if (take("b")) return {{Op::word}};
        if (take("B")) return {{Op::not_word}};
        return one_of(escape());
      default:
        return one_of(Set{}.set(index_of(c)));
    }
  }

  Set escape() {
    char c = next();
    Set blanks;
    for (char blank : std::string_view(" \t\n\r\f\v")) blanks.set(index_of(blank));
    switch (c) {
      case 'd':
        return range('0', '9');
      case 'D':
        return ~range('0', '9');
      case 'w':
        return word_bytes();
      case 'W':
        return ~word_bytes();
      case 's':
        return blanks;
      case 'S':
        return ~blanks;
      case 'n':
        return range('\n', '\n');
      case 't':
        return range('\t', '\t');
      case 'r':
        return range('\r', '\r');
      case 'x': {
        std::string hex{next(), next()};
        if (!std::isxdigit(index_of(hex[0])) || !std::isxdigit(index_of(hex[1])))
          fail("\\x needs two hex digits");
        return Set{}.set(std::stoul(hex, nullptr, 16));
      }
      default:
        if (std::isdigit(index_of(c))) fail("there are no back-references here");
        if (std::isalpha(index_of(c))) fail(std::string("\\") + c + " means nothing here");
        return Set{}.set(index_of(c));
    }
  }

  Set bracket() {
    bool negated = take("^");
    Set set;
    for (bool first = true;; first = false) {
      char c = next();
      if (c == ']' && !first) break;
      Set one = c == '\\' ? escape() : Set{}.set(index_of(c));
      if (one.count() == 1 && rest_.size() >= 2 && rest_[0] == '-' && rest_[1] != ']') {
        next();
        char last = next();
        Set end = last == '\\' ? escape() : Set{}.set(index_of(last));
        std::size_t low = 0, high = 0;
        while (!one[low]) ++low;
        while (high < end.size() && !end[high]) ++high;
        if (end.count() != 1 || high < low) fail("a range in [] is the wrong way round");
        one = range(static_cast<int>(low), static_cast<int>(high));
      }
      set |= one;
    }
    return negated ? ~set : set;
  }

  std::string_view rest_;
  std::vector<Set>& sets_;
  bool fold_case_ = false;
};

}  // namespace

Pattern::Pattern(std::string_view regex) : source_(regex) {
  try {
    steps_ = Parser(source_, sets_).parse();
  } catch (const Error& error) {
    throw Error(Error::Kind::usage,
                "'" + source_ + "' cannot be used as a regular expression: " + error.what());
  }
}

bool Pattern::found_in(std::string_view text) const {
  static const Set words = word_bytes();
  std::vector<std::size_t> now, later, todo;
  std::vector<std::size_t> seen(steps_.size(), 0);  // the position + 1 at which it was added
  bool found = false;
  // Adds a state and all that it leads to without taking a byte.
  auto add = [&](std::vector<std::size_t>& states, std::size_t start, std::size_t at) {
    todo.assign(1, start);
    while (!todo.empty()) {
      auto state = todo.back();
      todo.pop_back();
      if (seen[state] == at + 1) continue;
      seen[state] = at + 1;
      auto go = [&](int by) { todo.push_back(state + static_cast<std::size_t>(by)); };
      bool before = at > 0 && words[index_of(text[at - 1])];
      bool behind = at < text.size() && words[index_of(text[at])];
      auto& step = steps_[state];
      switch (step.op) {
        case Op::set:
          states.push_back(state);
          break;
        case Op::split:
          go(step.second);
          go(step.first);
          break;
        case Op::jump:
          go(step.first);
          break;
        case Op::line_start:
          if (at == 0 || text[at - 1] == '\n') go(1);
          break;
        case Op::line_end:
          if (at == text.size() || text[at] == '\n') go(1);
          break;
        case Op::word:
          if (before != behind) go(1);
          break;
        case Op::not_word:
          if (before == behind) go(1);
          break;
        case Op::match:
          found = true;
          break;
      }
    }
  };
  for (std::size_t at = 0;; ++at) {
    add(now, 0, at);  // a match may begin anywhere
    if (found || at == text.size()) return found;
    later.clear();
    for (auto state : now)
      if (sets_[static_cast<std::size_t>(steps_[state].first)][index_of(text[at])])
        add(later, state + 1, at + 1);
    if (found) return true;
    now.swap(later);
  }
}

}  // namespace attest::base
