// Trees of files as tar, for guests that have tar and no agent. Writes what every tar reads (ustar
// with GNU's long names), reads what GNU tar, busybox and libarchive write. Pure.
#pragma once
#include "lib/proto/agent_tree.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace attest::proto {

/// The header blocks of `entry`, under `name` in the archive. A file's bytes and tar_padding()
/// follow.
std::string tar_entry(const TreeEntry& entry, std::string_view name);
/// How many zero bytes follow a file of `size` bytes.
std::size_t tar_padding(std::uint64_t size);
/// The end of an archive.
std::string tar_end();

/// Takes an archive apart. The first entry is the root and gets the path ""; a leading "./" of the
/// others is dropped; devices and the like are left out. Names that could point outside of the
/// root, and hard links, break it.
class TarDecoder {
 public:
  /// Takes the next bytes, in pieces of any size.
  void feed(std::string_view bytes);
  /// The next event, or nullopt until more bytes come. Never after broken(). Pieces are valid until
  /// the next feed().
  std::optional<TreeEvent> next();
  /// What is wrong for good; "" if nothing.
  const std::string& broken() const noexcept { return broken_; }
  /// True once the end has come.
  bool ended() const noexcept { return ended_; }

 private:
  enum class Body { none, file, text, skipped };
  std::optional<TreeEvent> fail(std::string what);
  std::optional<TreeEvent> header(std::string_view block);
  void take_text();

  std::string buffer_, broken_;
  std::size_t used_ = 0;
  Body body_ = Body::none;
  char text_type_ = 0;
  std::string text_;  // of a long name or of pax records
  std::uint64_t left_ = 0, padding_ = 0, at_ = 0;
  std::string long_name_, long_target_;
  std::optional<std::uint64_t> pax_size_;
  bool any_ = false, root_is_directory_ = false, ended_ = false;
};

}  // namespace attest::proto
