// A real shell behind a stream, for the tests of this folder: in namespaces of its own, over a
// socket pair or over a raw pty, with a wrapper in between that can spoil what comes back.
#pragma once
#include "backends/loopback/loopback.h"
#include "lib/async/child.h"
#include "lib/async/fd_stream.h"
#include "lib/async/loop.h"
#include "lib/async/within.h"
#include "lib/guest/agent_binary.h"
#include "lib/guest/shell_guest.h"

#include <gmock/gmock.h>

#include <fcntl.h>
#include <pty.h>
#include <sys/mman.h>
#include <termios.h>

#include <functional>
#include <memory>
#include <string>

namespace attest::guest {

inline Deadline in(std::chrono::milliseconds span) { return Deadline::after(span); }
using namespace std::chrono_literals;

/// Passes everything on; `spoil` may change what the guest sent.
class Spoiled final : public Stream {
 public:
  Spoiled(std::unique_ptr<Stream> inner, std::shared_ptr<std::function<void(std::string&)>> spoil)
      : inner_(std::move(inner)), spoil_(std::move(spoil)) {}
  Task<std::size_t> read_some(std::span<char> buffer) override {
    for (;;) {
      auto count = co_await inner_->read_some(buffer);
      if (count == 0 || !*spoil_) co_return count;
      std::string bytes(buffer.data(), count);
      (*spoil_)(bytes);
      if (bytes.empty()) continue;
      std::copy(bytes.begin(), bytes.end(), buffer.begin());
      co_return bytes.size();
    }
  }
  Task<void> write_all(std::string_view bytes) override { return inner_->write_all(bytes); }
  void close() noexcept override { inner_->close(); }

 private:
  std::unique_ptr<Stream> inner_;
  std::shared_ptr<std::function<void(std::string&)>> spoil_;
};

struct PeerKind {
  const char* name;
  const char* shell;  ///< as loopback::shell_command_line() takes it
  bool pty = false;
  std::string script = {};  ///< what the shell runs instead of reading commands
  bool agent = false;       ///< attest-agent instead of a shell, in the same surroundings
};
/// The agent that the library carries, as a file that can be executed.
inline base::Fd agent_file() {
  int file = ::memfd_create("attest-agent", MFD_CLOEXEC);
  auto binary = agent_binary();
  if (::write(file, binary.data(), binary.size()) != static_cast<ssize_t>(binary.size()))
    throw Error(Error::Kind::host, "no file for the agent");
  base::Fd readable(
      ::open(("/proc/self/fd/" + std::to_string(file)).c_str(), O_RDONLY | O_CLOEXEC));
  ::close(file);
  return readable;
}
inline std::string peer_name(const ::testing::TestParamInfo<PeerKind>& info) {
  return info.param.name;
}

/// Owns the loop, the shell and its guest.
class Peer {
 public:
  explicit Peer(PeerKind kind = {"bash", "bash"}) { loop.run(start(this, kind)); }
  Peer(const Peer&) = delete;
  ~Peer() { loop.run(stop(this)); }

  CommandResult run(Command command, std::chrono::milliseconds limit = 30s) {
    return loop.run(guest->run(std::move(command), in(limit)));
  }
  CommandResult sh(std::string text, std::chrono::milliseconds limit = 30s) {
    return run({.shell = std::move(text), .argv = {}}, limit);
  }
  /// The Error that `text` ends with, or "no error" of kind usage.
  Error error_of(std::string text, std::chrono::milliseconds limit = 30s) {
    try {
      sh(std::move(text), limit);
    } catch (const Error& error) {
      return error;
    }
    return Error(Error::Kind::usage, "no error");
  }

  /// The Error that `task` ends with, or "no error" of kind usage.
  template <class T>
  Error error_in(Task<T> task) {
    try {
      loop.run(std::move(task));
    } catch (const Error& error) {
      return error;
    }
    return Error(Error::Kind::usage, "no error");
  }

  async::Loop loop;
  std::unique_ptr<Guest> guest;
  std::shared_ptr<std::function<void(std::string&)>> spoil =
      std::make_shared<std::function<void(std::string&)>>();
  std::unique_ptr<async::Child> child;

 private:
  static Task<void> start(Peer* self, PeerKind kind) {
    auto loop = self->loop.executor();
    base::Fd ours, theirs;
    if (kind.pty) {
      int master = -1, slave = -1;
      if (::openpty(&master, &slave, nullptr, nullptr, nullptr) == -1)
        throw Error(Error::Kind::host, "no pty");
      termios raw{};
      ::tcgetattr(slave, &raw);
      ::cfmakeraw(&raw);
      ::tcsetattr(slave, TCSANOW, &raw);
      ::fcntl(master, F_SETFD, FD_CLOEXEC);
      ::fcntl(slave, F_SETFD, FD_CLOEXEC);
      ours.reset(master);
      theirs.reset(slave);
    } else {
      std::tie(ours, theirs) = base::stream_pair();
    }
    async::ChildSpec spec;
    spec.argv = loopback::shell_command_line(
        kind.script.empty() ? kind.shell : kind.shell + (" " + kind.script), kind.pty);
    if (kind.agent) {
      spec.argv.back() = "agent";  // loopback's word for descriptor 9
      spec.fds.emplace(9, agent_file());
    }
    spec.fds.emplace(0, base::Fd(::fcntl(theirs.get(), F_DUPFD_CLOEXEC, 0)));
    spec.fds.emplace(1, std::move(theirs));
    self->child = std::make_unique<async::Child>(loop, std::move(spec));
    auto stream = std::make_unique<Spoiled>(async::make_stream(loop, std::move(ours)), self->spoil);
    Bootstrap none;  // named: g++ 12 destroys a temporary of it twice
    self->guest = co_await greet(std::move(stream), std::move(none), in(20s));
  }
  static Task<void> stop(Peer* self) {
    self->guest.reset();
    self->child.reset();
    co_return;
  }
};

}  // namespace attest::guest
