// Commands that are repeated, and sleep.
#pragma once
#include "lib/guest/guest.h"

#include <chrono>
#include <optional>
#include <string>

namespace attest::guest {

/// Repeats `command` (strict, each attempt in a shell of its own) until it exits with 0; returns
/// that attempt's stdout, byte for byte. An attempt that still runs at the deadline is ended.
/// Error{timeout} says how often it was tried, and the last attempt's exit code and output.
/// `interval` lies between one attempt's end and the next one's begin; default: 5 ms, growing by
/// half to 500.
Task<std::string> wait_until_succeeds(Guest& guest, std::string command, Deadline deadline,
                                      std::optional<std::chrono::milliseconds> interval = {});
/// The same, until it exits with anything but 0.
Task<std::string> wait_until_fails(Guest& guest, std::string command, Deadline deadline,
                                   std::optional<std::chrono::milliseconds> interval = {});
/// Lets `span` pass in the guest's time.
Task<void> sleep(Guest& guest, std::chrono::milliseconds span, Deadline deadline);

}  // namespace attest::guest
