#include "lib/base/sys_error.h"

#include <cstring>

namespace attest::base {

Error sys_error(const std::string& attempt, int code) {
  return Error(Error::Kind::host,
               attempt + ": " + ::strerror(code) + " (errno " + std::to_string(code) + ")");
}

int check(int result, const std::string& attempt) {
  if (result < 0) throw sys_error(attempt);
  return result;
}

}  // namespace attest::base
