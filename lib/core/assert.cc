#include "attest/assert.h"

#include "attest/error.h"
#include "lib/base/pattern.h"
#include "lib/base/text.h"

namespace attest {
namespace {

Error without(std::string_view text, const std::string& what, std::source_location here) {
  Error error(Error::Kind::guest, "expected a text " + what);
  error.attach(text.empty() ? "it is empty" : "the text, last lines",
               text.empty() ? " " : base::last_lines(text, 50));
  return std::move(error.at(here));
}

}  // namespace

void assert_contains(std::string_view text, std::string_view part, std::source_location here) {
  if (text.find(part) != std::string_view::npos) return;
  throw without(text, "that contains '" + base::printable(part) + "'", here);
}

void assert_matches(std::string_view text, std::string_view regex, std::source_location here) {
  try {
    if (base::Pattern(regex).found_in(text)) return;
  } catch (Error& e) {
    e.at(here);
    throw;
  }
  throw without(text, "that matches '" + std::string(regex) + "'", here);
}

std::string trim(std::string_view text) { return std::string(base::trim(text)); }
std::string dedent(std::string_view text) { return base::dedent(text); }

}  // namespace attest
