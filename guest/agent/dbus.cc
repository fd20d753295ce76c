#include "guest/agent/dbus.h"

#include <cstdlib>
#include <utility>

namespace attest::agent::dbus {
namespace {

constexpr std::size_t fixed_head = 16;
constexpr std::string_view header_signature = "yyyyuua(yv)";
constexpr int deepest = 32;
enum Field {
  path_field = 1,
  interface_field,
  member_field,
  error_field,
  reply_field,
  destination_field,
  sender_field,
  signature_field
};

std::size_t alignment(char type) {
  switch (type) {
    case 'n':
    case 'q':
      return 2;
    case 'b':
    case 'i':
    case 'u':
    case 'h':
    case 's':
    case 'o':
    case 'a':
      return 4;
    case 'x':
    case 't':
    case 'd':
    case '(':
    case '{':
      return 8;
    default:
      return 1;  // y, g, v
  }
}

std::size_t up_to(std::size_t at, std::size_t multiple) {
  return (at + multiple - 1) / multiple * multiple;
}

std::size_t number_of(const Value& value) { return std::strtoul(value.text.c_str(), nullptr, 10); }

// The first complete type of a signature; "" if there is none.
std::string_view first_type(std::string_view signature) {
  int depth = 0;
  for (std::size_t i = 0; i < signature.size(); ++i) {
    char c = signature[i];
    if (c == '(' || c == '{') ++depth;
    if (c == ')' || c == '}') --depth;
    if (depth < 0 || depth > deepest) return {};
    if (depth == 0 && c != 'a') return signature.substr(0, i + 1);
  }
  return {};
}

class Reader {
 public:
  Reader(std::string_view bytes, bool big_endian) : bytes_(bytes), big_(big_endian) {}

  bool good() const { return good_; }
  std::size_t at() const { return at_; }

  Value value(std::string_view type, int depth = 0) {
    Value found{type.empty() ? '\0' : type[0], {}, {}};
    if (depth > deepest) good_ = false;
    align(alignment(found.type));
    if (!good_) return found;
    switch (found.type) {
      case 'y':
        found.text = std::to_string(number(1));
        break;
      case 'n':
        found.text = std::to_string(static_cast<std::int16_t>(number(2)));
        break;
      case 'q':
        found.text = std::to_string(number(2));
        break;
      case 'i':
        found.text = std::to_string(static_cast<std::int32_t>(number(4)));
        break;
      case 'b':
      case 'h':
      case 'u':
        found.text = std::to_string(number(4));
        break;
      case 'x':
        found.text = std::to_string(static_cast<std::int64_t>(number(8)));
        break;
      case 'd':  // nobody asks for one; its bits
      case 't':
        found.text = std::to_string(number(8));
        break;
      case 's':
      case 'o':
        found.text = text(number(4));
        break;
      case 'g':
        found.text = text(number(1));
        break;
      case 'v':
        return variant(depth);
      case 'a':
        array(found, type.substr(1), depth);
        break;
      case '(':
      case '{':
        members(found, type.substr(1, type.size() - 2), depth);
        break;
      default:
        good_ = false;
    }
    return found;
  }

 private:
  std::string_view take(std::size_t size) {
    if (size > bytes_.size() - at_) good_ = false;
    if (!good_) return {};
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }
  void align(std::size_t multiple) {
    if (up_to(at_, multiple) > bytes_.size()) good_ = false;
    if (good_) at_ = up_to(at_, multiple);
  }
  std::uint64_t number(std::size_t size) {
    auto bytes = take(size);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i)
      value = value << 8 | static_cast<unsigned char>(bytes[big_ ? i : bytes.size() - 1 - i]);
    return value;
  }
  std::string text(std::uint64_t size) {
    auto found = take(size);
    if (take(1) != std::string_view("\0", 1)) good_ = false;
    return std::string(found);
  }
  Value variant(int depth) {
    auto signature = text(number(1));
    auto type = first_type(signature);
    if (type.empty() || type.size() != signature.size()) good_ = false;
    return good_ ? value(type, depth + 1) : Value();
  }
  void array(Value& found, std::string_view element, int depth) {
    auto size = number(4);
    align(alignment(element.empty() ? 'y' : element[0]));
    if (!good_ || size > bytes_.size() - at_) {
      good_ = false;
      return;
    }
    if (element == "y") {
      found.text = take(size);
      return;
    }
    auto end = at_ + size;
    while (good_ && at_ < end) found.items.push_back(value(element, depth + 1));
    if (at_ != end) good_ = false;
  }
  void members(Value& found, std::string_view types, int depth) {
    if (types.empty()) good_ = false;
    while (good_ && !types.empty()) {
      auto type = first_type(types);
      if (type.empty()) good_ = false;
      if (!good_) return;
      found.items.push_back(value(type, depth + 1));
      types.remove_prefix(type.size());
    }
  }

  std::string_view bytes_;
  bool big_, good_ = true;
  std::size_t at_ = 0;
};

class Writer {
 public:
  void pad(std::size_t multiple) { bytes.resize(up_to(bytes.size(), multiple)); }
  void byte(std::uint8_t value) { bytes += static_cast<char>(value); }
  void number(std::size_t value) {
    pad(4);
    for (int shift = 0; shift < 32; shift += 8) byte(static_cast<std::uint8_t>(value >> shift));
  }
  void text(std::string_view value) {
    number(value.size());
    bytes.append(value) += '\0';
  }
  void signature(std::string_view value) {
    byte(static_cast<std::uint8_t>(value.size()));
    bytes.append(value) += '\0';
  }
  // A header field, unless it is empty.
  void field(Field name, std::string_view type, std::string_view value) {
    if (value.empty()) return;
    pad(8);
    byte(name);
    signature(type);
    if (type == "g") {
      signature(value);
    } else {
      text(value);
    }
  }
  std::string bytes;
};

}  // namespace

std::string_view Message::text(std::size_t index) const {
  return index < body.size() ? std::string_view(body[index].text) : std::string_view();
}

std::string hello(std::uint32_t uid) {
  // SASL EXTERNAL takes the uid's decimal digits in hex. BEGIN goes along, and messages only after
  // the answer, as sd-bus does it: what else systemd (252) has read by the time it leaves this
  // phase, it does not look at until more comes.
  std::string hex;
  for (char digit : std::to_string(uid)) hex.append("3") += digit;
  return std::string(1, '\0') + "AUTH EXTERNAL " + hex + "\r\nBEGIN\r\n";
}

std::string encode_call(std::uint32_t serial, std::string_view destination, std::string_view path,
                        std::string_view interface, std::string_view member,
                        const std::vector<std::string_view>& arguments) {
  Writer body;
  for (auto argument : arguments) body.text(argument);
  Writer fields;
  fields.field(path_field, "o", path);
  fields.field(interface_field, "s", interface);
  fields.field(member_field, "s", member);
  fields.field(destination_field, "s", destination);
  fields.field(signature_field, "g", std::string(arguments.size(), 's'));
  Writer message;
  message.bytes = "l";
  message.byte(static_cast<std::uint8_t>(Message::Type::call));
  message.byte(0);  // flags
  message.byte(1);  // version
  message.number(body.bytes.size());
  message.number(serial);
  // The fields begin at 16, which is aligned as their own start was.
  message.number(fields.bytes.size());
  message.bytes += fields.bytes;
  message.pad(8);
  return message.bytes + body.bytes;
}

std::optional<std::vector<Value>> decode(std::string_view signature, std::string_view bytes,
                                         bool big_endian) {
  Reader reader(bytes, big_endian);
  std::vector<Value> values;
  while (!signature.empty()) {
    auto type = first_type(signature);
    if (type.empty()) return std::nullopt;
    values.push_back(reader.value(type));
    if (!reader.good()) return std::nullopt;
    signature.remove_prefix(type.size());
  }
  if (reader.at() != bytes.size()) return std::nullopt;
  return values;
}

const Value* find(const Value& dictionary, std::string_view name) {
  for (auto& entry : dictionary.items)
    if (entry.type == '{' && entry.items.size() == 2 && entry.items[0].text == name)
      return &entry.items[1];
  return nullptr;
}

void Decoder::feed(std::string_view bytes) {
  if (!broken_.empty()) return;
  buffer_.erase(0, std::exchange(used_, 0));
  buffer_ += bytes;
}

std::optional<Message> Decoder::fail(std::string what) {
  broken_ = std::move(what);
  return std::nullopt;
}

// The one line that answers AUTH; false until it has come.
bool Decoder::take_answer() {
  auto end = buffer_.find("\r\n", used_);
  if (end == std::string::npos) {
    if (buffer_.size() - used_ > 4096) fail("no answer to the authentication");
    return false;
  }
  auto line = buffer_.substr(used_, end - used_);
  used_ = end + 2;
  accepted_ = line.starts_with("OK");
  if (!accepted_) fail("authentication was refused: " + line);
  return accepted_;
}

std::optional<Message> Decoder::next() {
  if (!broken_.empty() || (!accepted_ && !take_answer())) return std::nullopt;
  for (;;) {
    auto rest = std::string_view(buffer_).substr(used_);
    if (rest.size() < fixed_head) return std::nullopt;
    bool big = rest[0] == 'B';
    if ((!big && rest[0] != 'l') || rest[3] != 1) return fail("bytes that begin no D-Bus message");
    auto sizes = decode("uuu", rest.substr(4, 12), big);
    auto size_of = [&](std::size_t i) { return number_of((*sizes)[i]); };
    if (size_of(0) > message_limit || size_of(2) > message_limit)
      return fail("a D-Bus message over the limit");
    auto head = fixed_head + size_of(2), body = up_to(head, 8);
    if (rest.size() < body + size_of(0)) return std::nullopt;
    used_ += body + size_of(0);
    auto header = decode(header_signature, rest.substr(0, head), big);
    if (!header) return fail("a D-Bus message's header is broken");
    Message message;
    message.type = static_cast<Message::Type>(rest[1]);
    message.serial = static_cast<std::uint32_t>(size_of(1));
    std::string signature;
    for (auto& field : (*header)[6].items) {
      auto& value = field.items[1].text;
      switch (number_of(field.items[0])) {
        case path_field:
          message.path = value;
          break;
        case interface_field:
          message.interface = value;
          break;
        case member_field:
          message.member = value;
          break;
        case error_field:
          message.error_name = value;
          break;
        case sender_field:
          message.sender = value;
          break;
        case signature_field:
          signature = value;
          break;
        case reply_field:
          message.reply_serial = static_cast<std::uint32_t>(number_of(field.items[1]));
          break;
        default:
          break;
      }
    }
    auto values = decode(signature, rest.substr(body, size_of(0)), big);
    if (!values) return fail("a D-Bus message's body does not fit its signature");
    message.body = *std::move(values);
    if (rest[1] < 1 || rest[1] > 4) continue;
    return message;
  }
}

}  // namespace attest::agent::dbus
