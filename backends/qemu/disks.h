// The disks of one machine for as long as its backend lives: the image's root, overlays over the
// config's disks, blank disks. Overlays and blank disks are files without a name, or kept ones.
#pragma once
#include "attest/config.h"
#include "backends/qemu/command_line.h"
#include "lib/base/fd.h"

#include <filesystem>
#include <map>
#include <vector>

namespace attest::qemu {

/// Disks keep what the guest has written across a shutdown() and the next boot().
class Disks {
 public:
  Disks() = default;
  /// What the guest writes is kept in the directory `keep_in`: disk0.qcow2, disk1.raw, ... (by
  /// their place), each with a note of what it belongs to.
  explicit Disks(std::filesystem::path keep_in) : keep_in_(std::move(keep_in)) {}

  /// A root file system that machines share read-only, or an overlay over it if its format is one
  /// that a guest writes to. Throws Error{usage} if the file is not there, Error{host}.
  void add_root(const std::filesystem::path& file, const std::string& format);
  /// A further part of the image that machines share read-only. Throws as add_root does.
  void add_store(const std::filesystem::path& file);
  /// Throws as add_root does; its messages name the disk's path.
  void add(const DiskConfig& disk);

  const std::vector<Disk>& list() const { return list_; }
  /// The numbers under which duplicates() are to be inherited.
  std::vector<int> fd_sets() const;
  /// New descriptors for one start of QEMU, by those numbers.
  std::map<int, base::Fd> duplicates() const;

 private:
  base::Fd make_file(const std::string& format, const std::string& belongs_to, bool& is_new);
  void note(const std::string& format, const std::string& belongs_to);
  std::string keep(base::Fd file);
  void add_overlay(const std::filesystem::path& base, const std::string& format);

  std::filesystem::path keep_in_;  // empty: files have no name
  std::vector<Disk> list_;
  std::vector<base::Fd> files_;
};

}  // namespace attest::qemu
