// The wire format of QMP, QEMU's control protocol: JSON objects one after the other, in both
// directions. Pure: bytes in, values out; lib/proto/qmp.h does the talking. JSON values travel as
// text, so that nobody else needs a JSON library.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace attest::proto {

/// Cuts a stream of bytes into whole JSON objects, however they were split or joined on the way.
class JsonSplitter {
 public:
  /// An object larger than `limit` bytes is refused, so that a broken peer cannot fill memory.
  explicit JsonSplitter(std::size_t limit = 16 << 20) : limit_(limit) {}

  void feed(std::string_view bytes) { pending_ += bytes; }
  /// The next whole object as text, or nullopt until more bytes come. Throws Error{protocol} for
  /// anything between objects but white space, for too large and for too deeply nested ones; it is
  /// useless then.
  std::optional<std::string> next();

 private:
  std::size_t limit_;
  std::string pending_;
  std::size_t scanned_ = 0;
  int depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

/// One object that QEMU has sent.
struct QmpMessage {
  enum class Kind { greeting, reply, error, event };
  Kind kind = Kind::event;
  std::optional<std::uint64_t> id;  ///< of a reply or an error, if it is one of our numbers
  std::string name;  ///< an event's name, an error's class, a greeting's version "7.2.22"
  std::string text;  ///< JSON: a reply's value, an event's data; plain: an error's description
};

/// Reads one object. Throws Error{protocol} quoting what is none of the four kinds.
QmpMessage parse_qmp(std::string_view json);

/// A command as bytes to send. `arguments` is a JSON object as text, or empty. Throws Error{usage}
/// if it is not.
std::string qmp_command(std::string_view command, std::string_view arguments, std::uint64_t id);

/// The data of a SHUTDOWN event.
struct QmpShutdown {
  bool guest = false;  ///< the guest did it, not the host
  std::string reason;  ///< "guest-shutdown", "guest-reset", "host-signal", ...
};
/// Missing members stay at their defaults. Throws Error{protocol} for what is not a JSON object.
QmpShutdown parse_shutdown(std::string_view data);

}  // namespace attest::proto
