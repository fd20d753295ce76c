// attest::Outside over the sandbox's doorman, whose calls block: each runs in a thread of its own,
// and its socket joins the loop that asked.
#pragma once
#include "attest/backend.h"

#include <memory>

namespace attest::sandbox {
class Doorman;
}

namespace attest::entry {

/// One serves every driver, on whichever loop a call happens. A cancelled call ends at once; its
/// thread goes on until the doorman has answered, and closes what then came; the destructor of
/// the result waits for such threads.
std::shared_ptr<Outside> make_outside(std::shared_ptr<sandbox::Doorman> doorman);

}  // namespace attest::entry
