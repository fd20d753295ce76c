// Repeats a probe inside the guest until it is content: one command for the whole wait, no host
// round trip per attempt. The waits beside this file are probes and words around it.
#pragma once
#include "lib/guest/guest.h"

#include <chrono>
#include <optional>
#include <string>

namespace attest::guest {

/// What is asked again and again.
struct Probe {
  std::string text;  ///< shell text, run in a subshell; for bash and for POSIX shells
  enum class Contract {
    states,  ///< exit 0: done; 1: not yet, stdout says the state; 2: never, stdout says why; 3: not
             ///< in this guest, why
    succeeds,  ///< exit 0: done; else not yet
    fails      ///< exit 0: not yet; else done
  } contract = Contract::states;
  std::string label = {};  ///< what messages call it
  /// From one attempt's end to the next one's begin; nullopt: 5 ms, growing by half to 500 ms.
  std::optional<std::chrono::milliseconds> interval = {};
};

/// How polling ended.
struct Polled {
  enum class Outcome { done, never, unsupported, late };
  Outcome outcome = Outcome::late;
  int attempts = 0;
  int code = 0;                      ///< of the last attempt; -1 if it was ended at the deadline
  std::string output, error_output;  ///< of the last attempt
};

/// Runs the probe at once, then again and again. Ends by the guest's own clock shortly before
/// `deadline`, which also ends an attempt that hangs; being late is an outcome. A guest that is too
/// slow to report by then is given 5 s more. Throws what Guest::run() throws.
Task<Polled> poll(Guest& guest, Probe probe, Deadline deadline);

/// poll() with Contract::states, put into words: returns the probe's stdout, or throws
/// Error{timeout, guest, unsupported} with "waited 5 s for GOAL; last state: ...".
Task<std::string> wait_for(Guest& guest, std::string goal, std::string probe, Deadline deadline);

}  // namespace attest::guest
