#include "attest/error.h"

#include "lib/base/text.h"

namespace attest {

Error& Error::attach(const std::string& title, const std::string& text) {
  auto body = base::trim(text);
  if (body.empty()) return *this;
  text_ += "\n  " + title + ":";
  for (auto& line : base::split(body, '\n')) text_ += "\n  | " + base::printable(line);
  return *this;
}

}  // namespace attest
