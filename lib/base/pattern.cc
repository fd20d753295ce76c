#include "lib/base/pattern.h"

#include "attest/error.h"
#include "lib/base/text.h"

#include <re2/re2.h>

namespace attest::base {

Pattern::Pattern(std::string_view regex) : source_(regex) {
  re2::RE2::Options options;
  options.set_log_errors(false);  // it would print them
  compiled_ = std::make_shared<const re2::RE2>("(?m)" + source_, options);
  if (!compiled_->ok())
    throw Error(Error::Kind::usage,
                "'" + printable(source_) + "' is no regular expression: " + compiled_->error())
        .hint("the syntax is RE2's: Python's without back-references and look-around");
}

bool Pattern::found_in(std::string_view text) const {
  return re2::RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *compiled_);
}

}  // namespace attest::base
