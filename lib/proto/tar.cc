#include "lib/proto/tar.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <utility>

namespace attest::proto {
namespace {

constexpr std::size_t block = 512;
constexpr std::size_t longest_text = 64 << 10;  // of a long name or of pax records

// Where a header's fields are.
struct Field {
  std::size_t at, size;
};
constexpr Field name_field{0, 100}, mode_field{100, 8}, uid_field{108, 8}, gid_field{116, 8},
    size_field{124, 12}, mtime_field{136, 12}, sum_field{148, 8}, target_field{157, 100},
    magic_field{257, 8}, prefix_field{345, 155};
constexpr std::size_t type_at = 156;

// Octal where it fits, else GNU's base 256.
void put(std::string& head, Field field, std::uint64_t value) {
  char octal[32];
  auto count = static_cast<std::size_t>(std::snprintf(octal, sizeof octal, "%0*llo",
                                                      static_cast<int>(field.size - 1),
                                                      static_cast<unsigned long long>(value)));
  if (count < field.size) {
    head.replace(field.at, count, octal, count);
    return;
  }
  for (std::size_t i = 0; i < field.size; ++i, value >>= 8)
    head[field.at + field.size - 1 - i] = static_cast<char>(value & 0xff);
  head[field.at] = static_cast<char>(0x80);
}

std::optional<std::uint64_t> number(std::string_view text) {
  if (!text.empty() && static_cast<unsigned char>(text[0]) == 0x80) {
    std::uint64_t value = 0;
    for (char c : text.substr(text.size() - 8)) value = value << 8 | static_cast<unsigned char>(c);
    return value >> 63 ? std::nullopt : std::optional(value);
  }
  while (text.starts_with(' ')) text.remove_prefix(1);
  std::uint64_t value = 0;
  auto end = text.find_first_not_of("01234567");
  auto digits = text.substr(0, end);
  if (digits.empty()) return 0;
  auto [stop, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
  if (failure != std::errc{} || value >> 63) return std::nullopt;
  return value;
}

std::string_view part(std::string_view head, Field field) {
  auto text = head.substr(field.at, field.size);
  return text.substr(0, text.find('\0'));
}

std::uint64_t sum_of(std::string_view head) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < block; ++i)
    sum += i >= sum_field.at && i < sum_field.at + sum_field.size
               ? ' '
               : static_cast<unsigned char>(head[i]);
  return sum;
}

std::string header_of(char type, std::string_view name, std::string_view target, std::uint32_t mode,
                      std::uint64_t size, std::int64_t seconds) {
  std::string head(block, '\0');
  auto text = [&](Field field, std::string_view value) {
    value = value.substr(0, field.size);
    head.replace(field.at, value.size(), value);
  };
  text(name_field, name);
  text(target_field, target);
  put(head, mode_field, mode);
  put(head, uid_field, 0);
  put(head, gid_field, 0);
  put(head, size_field, size);
  put(head, mtime_field, static_cast<std::uint64_t>(std::max<std::int64_t>(seconds, 0)));
  head[type_at] = type;
  text(magic_field, "ustar  ");
  char sum[16];
  std::snprintf(sum, sizeof sum, "%06llo", static_cast<unsigned long long>(sum_of(head)));
  head.replace(sum_field.at, 6, sum, 6);
  head[sum_field.at + 6] = '\0';
  head[sum_field.at + 7] = ' ';
  return head;
}

std::string long_text(char type, std::string_view text) {
  auto record = header_of(type, "././@LongLink", "", 0644, text.size() + 1, 0);
  record += text;
  record.append(1 + tar_padding(text.size() + 1), '\0');
  return record;
}

}  // namespace

std::string tar_entry(const TreeEntry& entry, std::string_view name) {
  using Type = TreeEntry::Type;
  std::string path(name);
  if (entry.type == Type::directory) path += "/";
  std::string record;
  if (entry.target.size() > target_field.size) record += long_text('K', entry.target);
  if (path.size() > name_field.size) record += long_text('L', path);
  const char type = entry.type == Type::directory ? '5' : entry.type == Type::symlink ? '2' : '0';
  auto seconds = entry.mtime_ns / 1'000'000'000;
  return record + header_of(type, path, entry.target, entry.mode,
                            entry.type == Type::file ? entry.size : 0, seconds);
}

std::size_t tar_padding(std::uint64_t size) {
  return static_cast<std::size_t>((block - size % block) % block);
}

std::string tar_end() { return std::string(2 * block, '\0'); }

void TarDecoder::feed(std::string_view bytes) {
  buffer_.erase(0, std::exchange(used_, 0));
  buffer_ += bytes;
}

std::optional<TreeEvent> TarDecoder::next() {
  while (broken_.empty() && !ended_) {
    auto rest = std::string_view(buffer_).substr(used_);
    if (left_ > 0) {
      if (rest.empty()) return std::nullopt;
      auto piece =
          rest.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, rest.size())));
      used_ += piece.size();
      left_ -= piece.size();
      if (body_ == Body::text) text_ += piece;
      if (body_ != Body::file) continue;
      TreeData data{at_, piece};
      at_ += piece.size();
      return data;
    }
    if (padding_ > 0) {
      if (rest.empty()) return std::nullopt;
      auto count = std::min<std::uint64_t>(padding_, rest.size());
      used_ += static_cast<std::size_t>(count);
      padding_ -= count;
      continue;
    }
    if (auto body = std::exchange(body_, Body::none); body == Body::file)
      return TreeFileEnd{};
    else if (body == Body::text)
      take_text();
    if (rest.size() < block) return std::nullopt;
    used_ += block;
    if (auto event = header(rest.substr(0, block))) return event;
  }
  return std::nullopt;
}

std::optional<TreeEvent> TarDecoder::header(std::string_view head) {
  if (head.find_first_not_of('\0') == head.npos) {
    ended_ = true;
    return TreeEnd{};
  }
  auto sum = number(head.substr(sum_field.at, sum_field.size));
  auto size = number(head.substr(size_field.at, size_field.size));
  auto mode = number(head.substr(mode_field.at, mode_field.size));
  auto mtime = number(head.substr(mtime_field.at, mtime_field.size));
  if (!sum || *sum != sum_of(head) || !size || !mode || !mtime) return fail("a damaged header");
  const char type = head[type_at];
  if (type != 'L' && type != 'K' && type != 'x' && type != 'g' && pax_size_)
    size = std::exchange(pax_size_, std::nullopt);
  if (type == '1' || type == '2' || type == '5') size = 0;
  left_ = *size;
  padding_ = tar_padding(*size);
  if (type == 'L' || type == 'K' || type == 'x' || type == 'g') {
    if (left_ > longest_text) return fail("a name that is too long");
    body_ = Body::text;
    text_type_ = type;
    text_.clear();
    return std::nullopt;
  }
  std::string name = std::exchange(long_name_, {});
  std::string target = std::exchange(long_target_, {});
  if (name.empty()) {
    name = part(head, name_field);
    auto prefix = part(head, prefix_field);
    const bool posix = head.substr(magic_field.at, 6) == std::string_view("ustar\0", 6);
    if (posix && !prefix.empty()) name = std::string(prefix) + "/" + name;
  }
  if (target.empty()) target = part(head, target_field);
  if (type == '1') return fail("a hard link, '" + name + "'");
  const bool known = type == '0' || type == '\0' || type == '5' || type == '2';
  if (!known) {
    body_ = Body::skipped;
    return std::nullopt;
  }
  TreeEntry entry;
  entry.type = type == '5'   ? TreeEntry::Type::directory
               : type == '2' ? TreeEntry::Type::symlink
                             : TreeEntry::Type::file;
  while (name.ends_with('/')) name.pop_back();
  if (name.starts_with("./")) name.erase(0, 2);
  if (!std::exchange(any_, true)) {
    root_is_directory_ = entry.type == TreeEntry::Type::directory;
    name.clear();
  } else if (!root_is_directory_ || !tree_path_ok(name)) {
    return fail("the unsafe name '" + name + "'");
  }
  entry.path = name;
  entry.mode = static_cast<std::uint32_t>(*mode & 07777);
  entry.mtime_ns =
      static_cast<std::int64_t>(std::min<std::uint64_t>(*mtime, 9'000'000'000)) * 1'000'000'000;
  if (entry.type == TreeEntry::Type::symlink) entry.target = target;
  if (entry.type == TreeEntry::Type::file) {
    entry.size = *size;
    body_ = Body::file;
    at_ = 0;
  }
  return entry;
}

void TarDecoder::take_text() {
  if (text_type_ == 'L' || text_type_ == 'K') {
    auto text = text_.substr(0, text_.find('\0'));
    (text_type_ == 'L' ? long_name_ : long_target_) = text;
    return;
  }
  if (text_type_ == 'g') return;
  // "LENGTH NAME=VALUE\n", one after the other.
  std::string_view rest = text_;
  while (!rest.empty()) {
    std::size_t length = 0;
    auto [end, failure] = std::from_chars(rest.data(), rest.data() + rest.size(), length);
    auto digits = static_cast<std::size_t>(end - rest.data());
    if (failure != std::errc{} || length > rest.size() || length < digits + 2) return;
    auto record = rest.substr(digits + 1, length - digits - 2);
    rest.remove_prefix(length);
    auto equals = record.find('=');
    if (equals == record.npos) continue;
    auto key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key == "path") long_name_ = value;
    if (key == "linkpath") long_target_ = value;
    std::uint64_t size = 0;
    if (key == "size" &&
        std::from_chars(value.data(), value.data() + value.size(), size).ec == std::errc{} &&
        size >> 63 == 0)
      pax_size_ = size;
  }
}

std::optional<TreeEvent> TarDecoder::fail(std::string what) {
  broken_ = std::move(what);
  return std::nullopt;
}

}  // namespace attest::proto
