// The D-Bus wire format, as much of it as talking to systemd takes: calls with string arguments go
// out, any message comes in. Pure; what is broken shows as broken(), nothing is read beyond its
// bytes. D-Bus Specification, "Message Protocol".
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace attest::agent::dbus {

/// A value of any type: basic ones are text (numbers decimal, booleans 1 and 0), an array of bytes
/// is one text, other containers have items. A variant is what it holds.
struct Value {
  char type = 0;  ///< of the signature: 's', 'u', 'a', '(', '{', ...
  std::string text;
  std::vector<Value> items;
};

struct Message {
  enum class Type : std::uint8_t { call = 1, reply = 2, error = 3, signal = 4 };
  Type type = Type::call;
  std::uint32_t serial = 0, reply_serial = 0;
  std::string path, interface, member, error_name, sender;
  std::vector<Value> body;

  /// The text of the body's value number `index`; "" if there is none.
  std::string_view text(std::size_t index) const;
};

/// What a client says first: it is `uid`. Messages may follow once that is accepted, not before.
std::string hello(std::uint32_t uid);
/// A method call with string arguments. No destination is needed on a direct connection.
std::string encode_call(std::uint32_t serial, std::string_view destination, std::string_view path,
                        std::string_view interface, std::string_view member,
                        const std::vector<std::string_view>& arguments);
/// The values of `bytes` after `signature`; nullopt unless they fill them exactly.
std::optional<std::vector<Value>> decode(std::string_view signature, std::string_view bytes,
                                         bool big_endian);
/// An a{sv}'s value of that name; null if it has none.
const Value* find(const Value& dictionary, std::string_view name);

/// Takes the server's side of a connection apart: the answer to hello(), then messages.
class Decoder {
 public:
  /// Far more than systemd sends.
  static constexpr std::size_t message_limit = 1 << 20;

  void feed(std::string_view bytes);
  /// The next message, or nullopt until more bytes come. Those of unknown types are left out.
  std::optional<Message> next();
  /// True once hello() was answered with yes; next() finds that out.
  bool accepted() const noexcept { return accepted_; }
  /// What is wrong for good; "" if nothing.
  const std::string& broken() const noexcept { return broken_; }

 private:
  std::optional<Message> fail(std::string what);
  bool take_answer();

  std::string buffer_, broken_;
  std::size_t used_ = 0;
  bool accepted_ = false;
};

}  // namespace attest::agent::dbus
