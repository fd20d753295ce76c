#include "lib/proto/agent_tree.h"

#include <algorithm>
#include <utility>

namespace attest::proto {
namespace {

constexpr std::size_t entry_head_size = 1 + 2 + 4 + 8 + 8 + 2;
constexpr char data_tag = 'D', file_end_tag = 'E', end_tag = 'Z';
constexpr std::size_t longest_path = 4095, longest_name = 255;

template <class Number>
void put(std::string& to, Number value) {
  for (int shift = static_cast<int>(sizeof value) * 8 - 8; shift >= 0; shift -= 8)
    to += static_cast<char>(static_cast<std::uint64_t>(value) >> shift & 0xff);
}

// Takes a big-endian number off the front; the caller knows that there is enough.
template <class Number>
Number take_number(std::string_view& from) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(Number); ++i)
    value = value << 8 | static_cast<unsigned char>(from[i]);
  from.remove_prefix(sizeof(Number));
  return static_cast<Number>(value);
}

std::string_view parent_of(std::string_view path) {
  auto slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

bool is_or_is_above(std::string_view above, std::string_view path) {
  return above.empty() || path == above || (path.starts_with(above) && path[above.size()] == '/');
}

}  // namespace

std::string tree_entry(const TreeEntry& entry) {
  std::string record(1, static_cast<char>(entry.type));
  record.reserve(entry_head_size + entry.path.size() + entry.target.size());
  put(record, static_cast<std::uint16_t>(entry.path.size()));
  put(record, entry.mode);
  put(record, entry.size);
  put(record, entry.mtime_ns);
  put(record, static_cast<std::uint16_t>(entry.target.size()));
  return record + entry.path + entry.target;
}

std::string tree_data_head(std::uint64_t offset, std::uint32_t size) {
  std::string head(1, data_tag);
  put(head, offset);
  put(head, size);
  return head;
}

std::string tree_file_end() { return std::string(1, file_end_tag); }
std::string tree_end() { return std::string(1, end_tag); }

bool tree_path_ok(std::string_view path) {
  if (path.empty() || path.size() > longest_path) return false;
  if (path.find('\0') != std::string_view::npos) return false;
  std::size_t depth = 0;
  for (;;) {
    auto slash = path.find('/');
    auto name = path.substr(0, slash);
    if (name.empty() || name == "." || name == ".." || name.size() > longest_name) return false;
    if (++depth > tree_depth_limit) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

void TreeDecoder::feed(std::string_view bytes) {
  if (!broken_.empty()) return;
  if (rest_.empty()) {
    rest_ = bytes;
    return;
  }
  keep();
  buffer_ += bytes;
  rest_ = buffer_;
}

void TreeDecoder::keep() {
  if (rest_.data() >= buffer_.data() && rest_.data() <= buffer_.data() + buffer_.size())
    buffer_.erase(0, static_cast<std::size_t>(rest_.data() - buffer_.data()));
  else
    buffer_ = rest_;
  rest_ = buffer_;
}

std::optional<TreeEvent> TreeDecoder::fail(std::string what) {
  broken_ = std::move(what);
  return std::nullopt;
}

std::optional<TreeEvent> TreeDecoder::next() {
  if (!broken_.empty()) return std::nullopt;
  auto event = take();
  if (!event && broken_.empty()) keep();
  return event;
}

std::optional<TreeEvent> TreeDecoder::take() {
  for (;;) {
    if (rest_.empty()) return std::nullopt;
    if (ended_) return fail("bytes come after the tree's end");
    if (piece_left_ > 0) return piece();
    switch (rest_[0]) {
      case data_tag: {
        if (auto event = data_head(); event || !broken_.empty()) return event;
        if (piece_left_ == 0) return std::nullopt;
        continue;  // the piece's first bytes may be here
      }
      case file_end_tag:
        if (!in_file_) return fail("a file ends that did not begin");
        rest_.remove_prefix(1);
        in_file_ = false;
        return TreeFileEnd{};
      case end_tag:
        if (in_file_ || !any_) return fail("the tree ends in the middle");
        rest_.remove_prefix(1);
        ended_ = true;
        return TreeEnd{};
      case 'f':
      case 'd':
      case 'l':
        return entry();
      default:
        return fail("byte " + std::to_string(rest_[0] & 0xff) + " begins no record of a tree");
    }
  }
}

std::optional<TreeEvent> TreeDecoder::piece() {
  auto bytes = rest_.substr(0, piece_left_);
  TreeData data{piece_offset_, bytes};
  rest_.remove_prefix(bytes.size());
  piece_offset_ += bytes.size();
  piece_left_ -= bytes.size();
  return data;
}

// Takes a data record's head; its bytes come from piece().
std::optional<TreeEvent> TreeDecoder::data_head() {
  if (rest_.size() < tree_data_head_size) return std::nullopt;
  if (!in_file_) return fail("data comes outside of a file");
  auto head = rest_.substr(1);
  auto offset = take_number<std::uint64_t>(head);
  auto size = take_number<std::uint32_t>(head);
  if (size == 0 || size > tree_piece_limit)
    return fail("a piece of " + std::to_string(size) + " bytes was announced");
  if (offset < at_) return fail("a piece lies before the end of the one before it");
  if (offset > size_ || size > size_ - offset) return fail("a piece lies beyond the file's end");
  rest_.remove_prefix(tree_data_head_size);
  at_ = offset + size;
  piece_offset_ = offset;
  piece_left_ = size;
  return std::nullopt;
}

std::optional<TreeEvent> TreeDecoder::entry() {
  if (in_file_) return fail("an entry comes inside of a file");
  if (rest_.size() < entry_head_size) return std::nullopt;
  TreeEntry found;
  found.type = static_cast<TreeEntry::Type>(rest_[0]);
  auto head = rest_.substr(1);
  auto path_size = take_number<std::uint16_t>(head);
  found.mode = take_number<std::uint32_t>(head);
  found.size = take_number<std::uint64_t>(head);
  found.mtime_ns = take_number<std::int64_t>(head);
  auto target_size = take_number<std::uint16_t>(head);
  // Before waiting for them, so that nobody makes this wait for what will be refused.
  if (path_size > longest_path || target_size > longest_path)
    return fail("a name of " + std::to_string(std::max(path_size, target_size)) + " bytes");
  if (head.size() < std::size_t{path_size} + target_size) return std::nullopt;
  found.path = head.substr(0, path_size);
  found.target = head.substr(path_size, target_size);
  rest_.remove_prefix(entry_head_size + path_size + target_size);
  if (auto why = why_out_of_place(found); !why.empty()) return fail(std::move(why));
  bool directory = found.type == TreeEntry::Type::directory;
  if (!any_) root_is_directory_ = directory;
  any_ = true;
  directory_ = directory ? found.path : std::string(parent_of(found.path));
  in_file_ = found.type == TreeEntry::Type::file;
  size_ = found.size;
  at_ = 0;
  return found;
}

// What is wrong with an entry, "" if nothing.
std::string TreeDecoder::why_out_of_place(const TreeEntry& entry) {
  bool symlink = entry.type == TreeEntry::Type::symlink;
  if (any_ == entry.path.empty())
    return any_ ? "the root comes twice" : "the first entry is not the root";
  if (any_ && !root_is_directory_) return "something comes below a root that is no directory";
  if (any_ && !tree_path_ok(entry.path)) return "'" + entry.path + "' is no path below the root";
  if (any_ && !is_or_is_above(parent_of(entry.path), directory_))
    return "'" + entry.path + "' comes where its directory is not open";
  if (entry.mode > 07777) return "'" + entry.path + "' has a mode over 07777";
  if (entry.size >> 63 != 0 || (entry.size != 0 && entry.type != TreeEntry::Type::file))
    return "'" + entry.path + "' has a size of " + std::to_string(entry.size) + " bytes";
  if (symlink == entry.target.empty() || entry.target.find('\0') != std::string::npos)
    return "'" + entry.path + "' has a target that is none";
  return "";
}

}  // namespace attest::proto
