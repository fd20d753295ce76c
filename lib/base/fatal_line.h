// The console lines that mean that a machine is lost: one list for all who read consoles.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace attest::base {

/// What a console line says about the machine's fate, in words: "the kernel panicked: ...", "the
/// guest is in emergency mode". nullopt for ordinary lines. Pure.
std::optional<std::string> fatal_line(std::string_view line);

}  // namespace attest::base
