// What a coroutine threw, as the one exception type of the library.
#pragma once
#include "attest/error.h"

#include <exception>

namespace attest::core {

/// `failure`, which is not null, as an Error; what is none is the host's fault.
inline Error error_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& e) {
    return e;
  } catch (const std::exception& e) {
    return Error(Error::Kind::host, e.what());
  }
}

}  // namespace attest::core
