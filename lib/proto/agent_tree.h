// Files and directory trees as one stream of bytes: what `pack` sends and `unpack` takes
// (guest/agent/PROTOCOL.md). Holes of sparse files are left out. Pure, standard types only, nothing
// throws: the agent links this file too. Names are checked here, once for both directions: nothing
// that the decoder returns can point outside of the directory that the receiver writes to.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace attest::proto {

/// One thing in a tree. The root itself comes first and has the path "".
struct TreeEntry {
  enum class Type : std::uint8_t { file = 'f', directory = 'd', symlink = 'l' };
  Type type = Type::file;
  std::string path;           ///< relative, below the root: "bin/true"
  std::uint32_t mode = 0;     ///< the permission bits, 07777
  std::uint64_t size = 0;     ///< of a file, holes included
  std::int64_t mtime_ns = 0;  ///< modification time since the epoch
  std::string target;         ///< of a symlink, any text; followed by nobody
  bool operator==(const TreeEntry&) const = default;
};

/// A piece of the file that was announced last. Pieces come in order; what lies between is a hole.
struct TreeData {
  std::uint64_t offset = 0;
  std::string_view bytes;  ///< valid until the decoder's next feed()
};

/// The announced file is complete.
struct TreeFileEnd {};
/// Nothing more comes.
struct TreeEnd {};
using TreeEvent = std::variant<TreeEntry, TreeData, TreeFileEnd, TreeEnd>;

/// An entry's record. A file's is followed by data records and one file end.
std::string tree_entry(const TreeEntry& entry);
/// The bytes before a piece of `size` bytes, at most 1 MiB.
std::string tree_data_head(std::uint64_t offset, std::uint32_t size);
std::string tree_file_end();
std::string tree_end();

/// True for a relative path of ordinary components: no "", ".", "..", no NUL; below 4096 bytes.
bool tree_path_ok(std::string_view path);

/// Takes records apart. A path that is not ok, data outside of a file, overlapping or backward
/// pieces, or an entry below what was announced as a file or symlink break it.
class TreeDecoder {
 public:
  /// Takes the next bytes, in pieces of any size.
  void feed(std::string_view bytes);
  /// The next event, or nullopt until more bytes come. Data may come in smaller pieces than it was
  /// sent. Never after broken().
  std::optional<TreeEvent> next();
  /// What is wrong for good; "" if nothing.
  const std::string& broken() const noexcept { return broken_; }

 private:
  std::optional<TreeEvent> fail(std::string what);

  std::string buffer_, broken_;
  std::size_t used_ = 0;
  bool any_ = false, in_file_ = false, ended_ = false, root_is_directory_ = false;
  std::uint64_t size_ = 0, at_ = 0;  // of the open file: its size, the end of what came
  std::uint64_t piece_offset_ = 0, piece_left_ = 0;
  std::string leaf_;  // the last entry that cannot have others below it
};

}  // namespace attest::proto
