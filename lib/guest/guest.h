// What can be done inside a machine, whatever carries it: attest-agent (AgentGuest), or a shell
// where there is none (ShellGuest: the same, slower). Nothing above this file asks which one it
// has. The topics beside it (units, ports, files, diagnosis) are written on these calls only.
#pragma once
#include "attest/command.h"
#include "attest/deadline.h"
#include "attest/stream.h"
#include "lib/proto/agent_tree.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace attest {
class FileTransfer;
}

namespace attest::guest {

/// One command. Exactly one of `shell` and `argv` is given.
struct Command {
  std::string shell;              ///< a shell text, run as DESIGN §1 "Commands" says
  std::vector<std::string> argv;  ///< a program and its arguments, run without a shell
  bool strict = true;             ///< set -euo pipefail for `shell`
  std::map<std::string, std::string> env = {};  ///< on top of the guest's
  std::string label = {};  ///< what messages call it; empty: its own first line
  std::string user = {};   ///< empty: root
  std::string cwd = {};    ///< empty: /tmp
  /// stdin; nullopt: /dev/null. For spawn() it begins a pipe, which there is in any case.
  std::optional<std::string> input = {};
};

/// A command under way. Destroying it ends the command: SIGTERM to its process group, then SIGKILL.
/// One reader and one writer at a time.
class Process {
 public:
  virtual ~Process() = default;

  struct Chunk {
    bool error_output = false;
    std::string bytes;
  };
  /// What it printed next; nullopt when it has ended and all is read. A slow caller stops the
  /// command's output, nothing else. Throws Error{host} when the connection has ended.
  virtual Task<std::optional<Chunk>> read() = 0;
  /// Gives it bytes on stdin; returns when they are on their way. Error{guest} if it has ended.
  virtual Task<void> write(std::string bytes) = 0;
  /// Ends its stdin.
  virtual Task<void> close_input() = 0;
  /// Sends a signal to its process group; nothing to do if it has ended.
  virtual Task<void> signal(int number) = 0;
  /// Its exit code, 128 + N after signal N, once read() has returned nullopt.
  virtual int exit_code() const = 0;
  /// Lets it run on when this is destroyed.
  virtual void detach() noexcept = 0;
};

// ---- what can be waited for ----

struct UnitActive {
  std::string unit, user;
};
struct PortOpen {
  int port = 0;
  std::string address;
  bool udp = false;
  bool closed = false;  ///< wait for the opposite
};
struct FileExists {
  std::string path;  ///< may hold * and ? in its last part
};
struct SocketAccepts {
  std::string path;
  bool datagram = false;
};
using Condition = std::variant<UnitActive, PortOpen, FileExists, SocketAccepts>;

// ---- trees: the host's side reads or writes them, see host_tree.h ----

/// Gives a tree, piece by piece.
class TreeSource {
 public:
  virtual ~TreeSource() = default;
  /// The next entry, parents first, the root (path "") at the beginning; nullopt at the end.
  virtual std::optional<proto::TreeEntry> next() = 0;
  /// The next piece of the file that next() has returned, at most 64 KiB, holes left out; nullopt
  /// at its end. Valid until the next call.
  virtual std::optional<proto::TreeData> read() = 0;
};

/// Takes a tree. Throws Error{host} as soon as something cannot be written.
class TreeSink {
 public:
  virtual ~TreeSink() = default;
  /// Parents come first, the root (path "") at the beginning. Paths are safe:
  /// proto::tree_path_ok().
  virtual void entry(const proto::TreeEntry& entry) = 0;
  virtual void data(const proto::TreeData& data) = 0;
  virtual void file_end() = 0;
};

enum class Power { off, reboot };

/// A machine that answers. All calls happen on the loop thread; any number may be under way.
class Guest {
 public:
  virtual ~Guest() = default;

  /// Runs `command` to its end. Past `deadline` its process group gets SIGTERM, then SIGKILL,
  /// and Error{timeout} carries the output so far. Throws Error{guest} for more output than the
  /// limit, Error{protocol} when an answer was damaged on the way (the guest stays usable), and
  /// Error{host} when the stream has ended. Cancelling it ends the command in the guest.
  virtual Task<CommandResult> run(Command command, Deadline deadline) = 0;
  /// Starts `command` and returns at once.
  virtual Task<std::unique_ptr<Process>> spawn(Command command, Deadline deadline) = 0;
  /// Returns as soon as `condition` holds, which the guest finds out by itself. Throws Error{guest}
  /// as soon as it can no longer come true, Error{timeout} with the last state, Error{usage} for
  /// names that are none, Error{unsupported} where the guest cannot know.
  virtual Task<void> wait_for(Condition condition, Deadline deadline) = 0;

  /// The whole file. Error{guest} if it cannot be read or has more than 64 MiB.
  virtual Task<std::string> read_file(std::string path, Deadline deadline) = 0;
  /// Creates or replaces a file, and the directories that it needs.
  virtual Task<void> write_file(std::string path, std::string bytes, unsigned mode,
                                Deadline deadline) = 0;
  /// Makes `path` in the guest what `tree` gives: files replaced, directories merged. `tree` must
  /// outlive the call.
  virtual Task<void> send_tree(TreeSource& tree, std::string path, Deadline deadline) = 0;
  /// Gives the file or directory at `path` to `sink`, which must outlive the call.
  virtual Task<void> fetch_tree(std::string path, TreeSink& sink, Deadline deadline) = 0;

  /// Sets the guest's wall clock.
  virtual Task<void> set_clock(std::chrono::system_clock::time_point now, Deadline deadline) = 0;
  /// Makes the kernel's random numbers depend on `bytes`, 1 to 256, from now on. Over a shell they
  /// do so only when the kernel draws from its pool next, within a minute.
  virtual Task<void> reseed(std::string bytes, Deadline deadline) = 0;
  /// Asks the guest to go down in order; returns when it has taken the wish.
  virtual Task<void> power(Power wish, Deadline deadline) = 0;
  /// Returns when the guest has greeted again on the same stream since the last call (or since it
  /// was made): it has rebooted. What ran before has failed with Error{guest} then.
  virtual Task<void> wait_restarted(Deadline deadline) = 0;

  /// What people should know about this guest ("no bash: commands run under sh -eu"), once; then
  /// "".
  virtual std::string take_notice() { return {}; }
};

/// How a ShellGuest becomes an AgentGuest.
struct Bootstrap {
  /// A second channel of the machine on which an agent can greet (QEMU's virtio port); null: none.
  std::unique_ptr<Stream> port;
  /// A directory of the host that the guest may see as /tmp/shared; empty: none.
  std::string shared_dir;
  /// How single files go where only a shell serves; null: over the shell. Outlives the guest.
  FileTransfer* files = nullptr;
};

/// Reads the greeting that the guest sends first, the agent's or the backdoor shell's, and returns
/// the Guest that fits it. Bytes before the greeting are skipped. With a shell and a port, starts
/// the agent of this library in the guest; where that is refused the shell serves, and
/// take_notice() says why. Throws Error{timeout} with what came instead; Error{guest} if the stream
/// ends.
Task<std::unique_ptr<Guest>> greet(std::unique_ptr<Stream> stream, Bootstrap bootstrap,
                                   Deadline deadline);

}  // namespace attest::guest
