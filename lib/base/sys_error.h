// Turns errno into an Error{host} that names what was attempted.
#pragma once
#include "attest/error.h"

#include <cerrno>
#include <string>

namespace attest::base {

/// "<attempt>: <text of code> (errno N)" as an Error{host}. `code` defaults to errno.
Error sys_error(const std::string& attempt, int code = errno);
/// Throws sys_error(attempt) if `result` is negative, else returns it.
int check(int result, const std::string& attempt);

}  // namespace attest::base
