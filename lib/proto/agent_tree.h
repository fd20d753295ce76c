// Files and directory trees as one stream of bytes: what `pack` sends and `unpack` takes
// (guest/agent/PROTOCOL.md). Holes of sparse files are left out. Pure, standard types only, nothing
// throws: the agent links this file too. Names and their order are checked here, once for both
// directions: nothing that the decoder returns can point outside of the directory that the receiver
// writes to, as long as the receiver follows no symlink below it (openat, O_NOFOLLOW).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace attest::proto {

/// One thing in a tree. The root itself comes first and has the path "". Entries come depth first:
/// each one's parent is a directory that was announced and not left since, so a receiver needs to
/// keep only the directories on the way to the last entry.
struct TreeEntry {
  enum class Type : std::uint8_t { file = 'f', directory = 'd', symlink = 'l' };
  Type type = Type::file;
  std::string path;           ///< relative, below the root: "bin/true"
  std::uint32_t mode = 0;     ///< the permission bits, 07777
  std::uint64_t size = 0;     ///< of a file, holes included; below 2^63
  std::int64_t mtime_ns = 0;  ///< modification time since the epoch
  std::string target;         ///< of a symlink, 1 to 4095 bytes without NUL; followed by nobody
  bool operator==(const TreeEntry&) const = default;
};

/// A piece of the file that was announced last. Pieces come in order; what lies between is a hole.
struct TreeData {
  std::uint64_t offset = 0;
  std::string_view bytes;  ///< valid until the decoder's next call
};

/// The announced file is complete.
struct TreeFileEnd {};
/// Nothing more comes.
struct TreeEnd {};
using TreeEvent = std::variant<TreeEntry, TreeData, TreeFileEnd, TreeEnd>;

/// The largest piece of one data record.
inline constexpr std::uint32_t tree_piece_limit = 1 << 20;
/// How many bytes tree_data_head() returns.
inline constexpr std::size_t tree_data_head_size = 13;
/// A path's most components, so that a receiver can keep a descriptor for each.
inline constexpr std::size_t tree_depth_limit = 256;

/// An entry's record. A file's is followed by data records and one file end.
std::string tree_entry(const TreeEntry& entry);
/// The bytes before a piece of `size` bytes, at most tree_piece_limit.
std::string tree_data_head(std::uint64_t offset, std::uint32_t size);
std::string tree_file_end();
std::string tree_end();

/// True for a relative path of 1 to tree_depth_limit ordinary components: no "", ".", "..", nothing
/// over 255 bytes, no NUL; below 4096 bytes together.
bool tree_path_ok(std::string_view path);

/// Takes records apart. A path that is not ok or out of order, data outside of a file, and
/// overlapping or backward pieces break it.
class TreeDecoder {
 public:
  TreeDecoder() = default;
  TreeDecoder(const TreeDecoder&) = delete;
  TreeDecoder& operator=(const TreeDecoder&) = delete;

  /// Takes the next bytes, in pieces of any size. They must stay where they are until next() has
  /// returned nullopt, or until keep().
  void feed(std::string_view bytes);
  /// Copies what next() has not returned yet, for callers that stop in the middle.
  void keep();
  /// The next event, or nullopt until more bytes come. Data may come in smaller pieces than it was
  /// sent. Never after broken().
  std::optional<TreeEvent> next();
  /// What is wrong for good; "" if nothing.
  const std::string& broken() const noexcept { return broken_; }
  /// True once TreeEnd was returned; bytes after it break the decoder.
  bool ended() const noexcept { return ended_; }

 private:
  std::optional<TreeEvent> fail(std::string what);
  std::optional<TreeEvent> take();
  std::optional<TreeEvent> piece();
  std::optional<TreeEvent> entry();
  std::optional<TreeEvent> data_head();
  std::string why_out_of_place(const TreeEntry& entry);

  std::string buffer_, broken_;
  std::string_view rest_;  // what next() has not returned: in buffer_, or in what was fed
  bool any_ = false, in_file_ = false, ended_ = false, root_is_directory_ = false;
  std::uint64_t size_ = 0, at_ = 0;  // of the open file: its size, the end of what came
  std::uint64_t piece_offset_ = 0, piece_left_ = 0;
  std::string
      directory_;  // the one that the last entry was in, or was: new ones are in it or above
};

}  // namespace attest::proto
