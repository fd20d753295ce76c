// Evidence from inside a guest, for the messages of failed waits. Nothing here throws: a short
// sentence stands where the guest cannot answer.
#pragma once
#include "lib/guest/guest.h"

#include <string>

namespace attest::guest {

/// The failed units, one a line; "" if there are none or the guest has no systemd.
Task<std::string> failed_units(Guest& guest, Deadline deadline);
/// The last `lines` lines of the journal, of one unit or (empty) of the whole guest.
Task<std::string> journal_tail(Guest& guest, std::string unit, int lines, Deadline deadline);

}  // namespace attest::guest
