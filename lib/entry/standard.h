// The parts that a standard run gives its drivers: output, work directories, the sandbox.
#pragma once
#include "attest/backend.h"
#include "attest/driver.h"
#include "attest/sandbox.h"

#include <string_view>

namespace attest::entry {

/// One whole line on stderr, in a single write so that threads do not mix: "web | text", or
/// "attest: text" for an empty `who`.
void say(std::string_view who, std::string_view text);

/// Setup with the built-in backends, say(), and a fresh work directory. `output` is added to
/// the settings' folder, if one is set.
DriverSetup standard_setup(const std::string& output);

/// "backend qemu/tcg, timeout factor 1, sandbox full": the header of a run.
std::string header(const Config& config, const Backends& backends);

}  // namespace attest::entry
