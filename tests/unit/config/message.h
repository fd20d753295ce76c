// The whole text of the usage error that a call throws; other kinds and no error at all show up
// as texts that no test expects.
#pragma once
#include "attest/error.h"

#include <string>

namespace attest {

template <class F>
std::string message_of(F&& call) {
  try {
    call();
    return "(no error)";
  } catch (const Error& error) {
    return error.kind() == Error::Kind::usage ? error.what()
                                              : std::string("(other kind) ") + error.what();
  }
}

}  // namespace attest
