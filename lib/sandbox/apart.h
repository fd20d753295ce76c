// Processes that are nobody's child and of a session of their own: they outlive whoever asked for
// them, leave no zombie, and no terminal or death signal reaches them.
#pragma once
#include <functional>

namespace attest::sandbox {

/// Runs `body`, which must not return, in such a process, with stdin and stdout at /dev/null and
/// no descriptor but `kept` (-1: none) and stderr; every signal is blocked. Safe in a process with
/// threads, as long as `body` only calls what is async-signal-safe. Throws Error{host} if there
/// can be no process; `attempt` is for its message.
void start_apart(const char* attempt, std::initializer_list<int> kept,
                 const std::function<void()>& body);

/// Between fork and exec: every signal gets its default action, none is blocked.
void default_signals() noexcept;

}  // namespace attest::sandbox
