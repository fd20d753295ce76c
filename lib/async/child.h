// Child processes that cannot outlive us.
#pragma once
#include "lib/async/event.h"
#include "lib/async/net.h"
#include "lib/base/fd.h"

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace attest::async {

/// How a process ended.
struct ExitStatus {
  int code = 0;    ///< exit code, when signal is 0
  int signal = 0;  ///< the signal that killed it
  /// "exited with code 1", "was killed by signal 9 (Killed)"
  std::string words() const;
};

/// What to start, and with which descriptors.
struct ChildSpec {
  std::vector<std::string> argv;           ///< argv[0] is looked up on PATH unless it has a slash
  std::filesystem::path cwd;               ///< empty: ours
  std::map<std::string, std::string> env;  ///< on top of our environment
  /// Descriptors for the child by the number it sees. 0, 1 and 2 default to /dev/null: a child
  /// that inherited the test's stdout would keep a CI's pipe open for ever. All others are closed.
  std::map<int, base::Fd> fds;
  bool own_session = false;  ///< for programs that would end with our terminal (SIGHUP)
};

/// A running process in a process group of its own, which the kernel kills when our loop
/// thread ends. Start it on the loop thread only. The destructor kills the group and reaps.
class Child {
 public:
  /// Throws Error{host} if the program is not found or cannot be executed.
  Child(asio::any_io_executor loop, ChildSpec spec);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  int pid() const noexcept;
  bool running() const noexcept;
  /// Returns when it has ended and is reaped; by any number of callers, also afterwards.
  Task<ExitStatus> wait();
  /// Sends `number` to the process group; nothing to do if it has ended.
  void signal(int number) noexcept;
  /// SIGKILL to the group, then reaps; blocks for as long as the kernel needs. Idempotent.
  void kill() noexcept;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with the coroutine that reaps
};

/// The path of `program` on PATH (or itself, if it has a slash and is executable); "" if none.
std::string find_program(const std::string& program);

}  // namespace attest::async
