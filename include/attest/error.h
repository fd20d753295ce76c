// attest::Error: the one exception type of the library. It tells a story: what
// broke, which steps were under way, and what the reader should try next.
#pragma once
#include <exception>
#include <source_location>
#include <string>
#include <utility>

namespace attest {

/// A failure with a story. `final`, with a kind instead of subclasses: subclasses
/// slice as soon as a layer adds its step through a base reference.
class Error final : public std::exception {
 public:
  /// What the caller can do about it.
  enum class Kind {
    usage,        ///< the test or its configuration is wrong: fix the text
    unsupported,  ///< this backend or host cannot do it: use another, or skip
    timeout,      ///< a deadline passed
    guest,        ///< the machine under test misbehaved (a command failed, it panicked)
    host,         ///< the host refused (no permission, no space, program missing)
    protocol      ///< a peer sent what its protocol does not allow
  };

  Error(Kind kind, std::string what) : kind_(kind), text_(std::move(what)) {}

  /// Adds the step that was under way; once per layer while unwinding.
  Error& during(const std::string& step) {
    text_ += "\n  while " + step;
    return *this;
  }
  /// Adds the one thing that the reader should try.
  Error& hint(const std::string& advice) {
    text_ += "\n  hint: " + advice;
    return *this;
  }
  /// Adds a block of evidence (a journal's tail, a console's last lines), indented below a title.
  Error& attach(const std::string& title, const std::string& text);
  /// Remembers the call in the test that failed; the first caller wins.
  Error& at(std::source_location where) {
    if (where_.line() == 0) where_ = where;
    return *this;
  }

  Kind kind() const noexcept { return kind_; }
  /// Where in the test the failing call stands; line 0 when it is not known.
  std::source_location where() const noexcept { return where_; }
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  Kind kind_;
  std::string text_;
  std::source_location where_{};
};

}  // namespace attest
