// The disks of one machine for as long as its backend lives, as raw files: the image's root and
// store, shared read-only; copies of the config's disks (reflinked where the file system can);
// blank disks.
#pragma once
#include "attest/config.h"

#include <filesystem>
#include <string>
#include <vector>

namespace attest::microvm {

/// One disk as the guest will see it.
struct Drive {
  std::string id;  ///< "root", "store", "disk1", ...: letters and digits
  std::filesystem::path file;
  bool read_only = false;
  bool root = false;
};

/// Disks keep what the guest has written across a shutdown() and the next boot().
class Drives {
 public:
  /// `monitor` is for messages. What the guest writes is in files of `directory`, named by their
  /// place: disk1.raw. With `keep` they are there for the next run, each with a note of what it
  /// belongs to; without they are removed by the destructor.
  Drives(std::string monitor, std::filesystem::path directory, bool keep);
  Drives(Drives&& other) noexcept = default;
  Drives& operator=(Drives&&) = delete;
  ~Drives();

  /// A file system that machines share (erofs, squashfs), or a copy of one that is written to.
  /// Throws Error{usage} if it is not there, Error{unsupported} for qcow2, Error{host}. Copies are
  /// not made yet.
  void add_root(const std::filesystem::path& file, const std::string& format);
  /// A further read-only part of the image.
  void add_store(const std::filesystem::path& file);
  /// Throws as add_root does; its messages name the disk's path.
  void add(const DiskConfig& disk);

  const std::vector<Drive>& list() const { return list_; }
  /// True if there is one that the guest writes to.
  bool any_writable() const;

  /// Makes those that the guest writes to, unless they are there. Blocks for the length of the
  /// copies. Throws Error{host}.
  void make();
  /// True if make() has nothing to do.
  bool made() const { return made_; }

  /// Copies those that the guest writes to into `dir`, as "<id>.raw"; the guest must stand still.
  /// Blocks for the length of the copies: call it on a thread of its own for large ones.
  void save_to(const std::filesystem::path& dir) const;
  /// Replaces them by those that save_to() has left in `dir`. Throws Error{usage} if one is missing
  /// there.
  void load_from(const std::filesystem::path& dir);

 private:
  /// How one that the guest writes to comes into being.
  struct Origin {
    std::filesystem::path file;  ///< what to copy; empty: nothing, it is blank
    int size_mb = 0;             ///< of a blank one
    std::string belongs_to;      ///< what must be the same when a kept one is used again
  };
  void add_writable(std::string id, Origin origin, bool root);
  void add_shared(std::string id, const std::filesystem::path& file, bool root);
  void make_one(const Drive& drive, const Origin& origin) const;

  std::string monitor_;
  std::filesystem::path directory_;
  bool keep_;
  bool made_ = true;
  std::vector<Drive> list_;
  std::vector<Origin> origins_;  ///< of each in list_
};

/// Copies a file: a reflink where the file system can, else its data with its holes kept. Replaces
/// `to`. Blocks. Throws Error{host}.
void clone_file(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace attest::microvm
