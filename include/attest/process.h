// A command that runs while the test goes on.
#pragma once
#include "attest/command.h"

#include <chrono>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>

namespace attest {

/// What Machine::spawn() returns: a command under way in a machine. Dropping it ends the command
/// (SIGTERM to its process group, SIGKILL 2 s later); the end of the machine ends it, too. Calls
/// block, and are safe from several threads as long as one reads and one writes at a time.
///     auto tail = web.spawn({.shell = "tail -f /var/log/messages"});
///     while (auto line = tail.read_line({.timeout = 10s})) { ... }
class [[nodiscard]] Process {
 public:
  using Here = std::source_location;
  struct Impl;  // lib/core/process_impl.h

  explicit Process(std::unique_ptr<Impl> impl);
  Process(Process&&) noexcept;
  Process& operator=(Process&&) noexcept;
  ~Process();

  /// Gives it bytes on stdin. Error{guest} if it has ended.
  void write(std::string_view bytes, Here here = Here::current());
  /// Ends its stdin: it reads the end of file.
  void close_stdin(Here here = Here::current());
  /// The next line that it prints on stdout, without its end; nullopt when nothing more comes.
  /// Throws Error{timeout}: the line may still come later. stderr is kept meanwhile, for wait().
  /// A line of more than 1 MiB comes in pieces. A command whose reader is slow waits for it.
  std::optional<std::string> read_line(WaitOptions options = {}, Here here = Here::current());
  /// Waits for its end. Returns what was not read yet, the newest 64 MiB of it, and the exit code.
  /// Throws Error{timeout}; the command runs on.
  CommandResult wait(WaitOptions options = {}, Here here = Here::current());
  /// Sends `signal` (default SIGTERM) to its process group and returns; wait() tells the end.
  void kill(int signal = 15, Here here = Here::current());
  /// True until its end was seen.
  bool running() const;
  /// Lets it run on without this handle; the end of the machine still ends it. The handle can do
  /// nothing more then.
  void detach();

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace attest
