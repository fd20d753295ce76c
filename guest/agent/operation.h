// What runs for one stream: the seam between the connection (frames, windows, fairness) and the
// powers (commands, files, waits). To add a power: derive from Operation, and name its factory in
// operations.cc.
#pragma once
#include "guest/agent/loop.h"
#include "lib/proto/agent_codec.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace attest::agent {

using proto::AgentFields;

/// An operation's way to the host. After done() or error() every call does nothing.
class Output {
 public:
  virtual ~Output() = default;

  /// How many bytes of data may be sent now: the host's window, and what waits on the connection.
  virtual std::size_t room() const = 0;
  /// Sends `bytes` on `channel`; at most room() of them.
  virtual void data(std::uint8_t channel, std::string_view bytes) = 0;
  virtual void end(std::uint8_t channel) = 0;
  virtual void event(const AgentFields& fields) = 0;
  /// The stream's last words, one of the two. The operation is destroyed soon after it returns
  /// from its callback.
  virtual void done(const AgentFields& fields = {}) = 0;
  /// `kind` is a word of attest::Error::Kind: usage, unsupported, timeout, guest, host, protocol.
  virtual void error(std::string_view kind, std::string_view text) = 0;
  /// Lets the host send so many more bytes: they have been used up.
  virtual void consumed(std::size_t bytes) = 0;
  /// Lets `bytes` more than the window be under way from the host.
  virtual void widen(std::size_t bytes) = 0;
};

/// One thing that the host has asked for. The defaults refuse nothing and do nothing.
class Operation {
 public:
  virtual ~Operation() = default;

  /// Begins; called once, when the stream is set up. May end it at once.
  virtual void start() = 0;
  /// Data from the host; it counts against the window until out.consumed().
  virtual void on_data(std::uint8_t channel, std::string_view bytes);
  virtual void on_end(std::uint8_t channel);
  virtual void on_event(const AgentFields& fields);
  /// room() was exhausted and has grown.
  virtual void on_room() {}
  /// The host wants it ended: done() or error() must follow, soon.
  virtual void on_cancel() = 0;

 protected:
  explicit Operation(Output& out) : out_(out) {}
  Output& out_;
};

/// What operations share.
struct Services {
  Loop& loop;
  class ResidentShell& shell;  ///< resident_shell.h
};

/// Makes the operation that fields["op"] names; null for an unknown one. operations.cc.
std::unique_ptr<Operation> make_operation(const AgentFields& fields, Output& out,
                                          Services services);

/// Factories, in alphabetical order; each in the file of its power. They may answer with an error
/// in start(), never here.
std::unique_ptr<Operation> make_clock(const AgentFields&, Output&, Services);
std::unique_ptr<Operation> make_list(const AgentFields&, Output&, Services);
std::unique_ptr<Operation> make_pack(const AgentFields&, Output&, Services);
std::unique_ptr<Operation> make_power(const AgentFields&, Output&, Services);
std::unique_ptr<Operation> make_read(const AgentFields&, Output&, Services);
std::unique_ptr<Operation> make_reseed(const AgentFields&, Output&, Services);
std::unique_ptr<Operation> make_run(const AgentFields&, Output&, Services);
std::unique_ptr<Operation> make_stat(const AgentFields&, Output&, Services);
std::unique_ptr<Operation> make_unpack(const AgentFields&, Output&, Services);
std::unique_ptr<Operation> make_wait(const AgentFields&, Output&, Services);
std::unique_ptr<Operation> make_write(const AgentFields&, Output&, Services);

}  // namespace attest::agent
