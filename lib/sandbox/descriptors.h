// What the processes beside the tests (doorman, workers, reaper) may hold open.
#pragma once
#include <initializer_list>

namespace attest::sandbox {

/// Closes every descriptor but those in `kept` and stderr (a crash's last words), and points
/// stdin and stdout to /dev/null: nobody's pipe stays open because of us. Async-signal-safe.
void keep_only(std::initializer_list<int> kept) noexcept;

}  // namespace attest::sandbox
