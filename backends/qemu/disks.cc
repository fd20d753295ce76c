#include "backends/qemu/disks.h"

#include "attest/error.h"
#include "backends/qemu/qcow2.h"
#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace attest::qemu {
namespace {

namespace fs = std::filesystem;

constexpr int first_number = 10;  // above the sockets of command_line.h

// A file without a name, on a disk rather than in memory: guests may write much to it.
base::Fd nameless_file() {
  const char* chosen = std::getenv("TMPDIR");
  std::string directory = chosen && *chosen ? chosen : "/var/tmp";
  base::Fd file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file) return file;
  // Not every file system has O_TMPFILE (overlayfs before Linux 6.3).
  std::string name = directory + "/attest-disk-XXXXXX";
  file.reset(
      base::check(::mkostemp(name.data(), O_CLOEXEC), "making a disk file in '" + directory + "'"));
  ::unlink(name.c_str());
  return file;
}

void write_all(const base::Fd& file, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::write(file.get(), bytes.data(), bytes.size());
    if (count < 0) throw base::sys_error("writing a disk file");
    bytes.remove_prefix(count);
  }
}

// Which file exactly: an overlay is worth nothing over another one.
std::string identity(const fs::path& file) {
  struct stat status{};
  base::check(::stat(file.c_str(), &status), "looking at the disk '" + file.string() + "'");
  return "'" + file.string() + "' of " + std::to_string(status.st_size) + " bytes, changed at " +
         std::to_string(status.st_mtim.tv_sec) + "." + std::to_string(status.st_mtim.tv_nsec);
}

bool ends_with(const std::string& text, std::string_view end) { return text.ends_with(end); }

std::string format_of(const DiskConfig& disk) {
  if (!disk.format.empty()) {
    if (disk.format != "raw" && disk.format != "qcow2")
      throw Error(Error::Kind::usage,
                  "the disk '" + disk.path + "' has the unknown format '" + disk.format + "'")
          .hint("use raw or qcow2");
    return disk.format;
  }
  return ends_with(disk.path, ".qcow2") ? "qcow2" : "raw";
}

// The size that a guest would see. Also proves that the file can be read.
std::uint64_t disk_size(const fs::path& path, const std::string& format) {
  base::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file)
    throw Error(Error::Kind::usage,
                base::sys_error("opening the disk '" + path.string() + "'").what())
        .hint("correct its path in the config");
  if (format != "qcow2") {
    off_t size = ::lseek(file.get(), 0, SEEK_END);
    if (size < 0) throw base::sys_error("measuring the disk '" + path.string() + "'");
    return (std::uint64_t(size) + 511) / 512 * 512;  // sectors, as QEMU rounds it
  }
  std::array<char, 32> header{};
  auto count = ::read(file.get(), header.data(), header.size());
  auto size = qcow2_size({header.data(), std::size_t(std::max<ssize_t>(count, 0))});
  if (!size)
    throw Error(Error::Kind::usage, "the disk '" + path.string() + "' is not in qcow2 format")
        .hint("give its format in the config: \"raw\" or \"qcow2\"");
  return *size;
}

}  // namespace

std::string Disks::keep(base::Fd file) {
  files_.push_back(std::move(file));
  return "/dev/fdset/" + std::to_string(first_number + files_.size() - 1);
}

// The file of the next disk. `belongs_to` is what must be the same when a kept one is used again.
base::Fd Disks::make_file(const std::string& format, const std::string& belongs_to, bool& is_new) {
  is_new = true;
  if (keep_in_.empty()) return nameless_file();
  fs::path path = keep_in_ / ("disk" + std::to_string(list_.size()) + "." + format);
  fs::path note = path.string() + ".base";
  auto known = base::try_read_file(note);
  is_new = !known;
  if (known && *known != belongs_to)
    throw Error(Error::Kind::usage, "the kept disk '" + path.string() + "' belongs to " +
                                        std::string(base::trim(*known)) + ", not to " +
                                        std::string(base::trim(belongs_to)))
        .hint("remove the directory '" + keep_in_.string() + "' to start anew");
  int flags = O_RDWR | O_CLOEXEC | O_CREAT | (is_new ? O_TRUNC : 0);
  base::Fd file(base::check(::open(path.c_str(), flags, 0600),
                            "opening the kept disk '" + path.string() + "'"));
  return file;
}

// Called when a new file is complete: one without the note is made again.
void Disks::note(const std::string& format, const std::string& belongs_to) {
  if (!keep_in_.empty())
    base::write_file(keep_in_ / ("disk" + std::to_string(list_.size()) + "." + format + ".base"),
                     belongs_to);
}

void Disks::add_overlay(const fs::path& base, const std::string& format) {
  auto size = disk_size(base, format);
  bool is_new = true;
  std::string belongs_to = identity(base);
  base::Fd file = make_file("qcow2", belongs_to, is_new);
  if (is_new) {
    write_all(file, qcow2_overlay(base.string(), format, size));
    note("qcow2", belongs_to);
  }
  list_.push_back({.file = keep(std::move(file)), .format = "qcow2"});
}

void Disks::add_root(const fs::path& file, const std::string& format) {
  std::string layer = format == "qcow2" ? "qcow2" : "raw";
  if (format == "erofs" || format == "squashfs") {
    disk_size(file, layer);
    list_.push_back({.file = file.string(), .format = layer, .read_only = true});
  } else {
    add_overlay(fs::absolute(file), layer);
  }
}

void Disks::add_store(const fs::path& file) {
  disk_size(file, "raw");
  list_.push_back({.file = file.string(), .format = "raw", .read_only = true});
}

void Disks::add(const DiskConfig& disk) {
  std::string format = format_of(disk);
  if (!disk.path.empty()) {
    fs::path path = fs::absolute(disk.path);
    disk_size(path, format);
    if (disk.read_only)
      list_.push_back({.file = path.string(), .format = format, .read_only = true});
    else
      add_overlay(path, format);
    return;
  }
  if (disk.size_mb < 1)
    throw Error(Error::Kind::usage, "a disk has neither 'path' nor 'size_mb'")
        .hint("give the path of an image, or the size of a blank disk in MiB");
  if (format != "raw")
    throw Error(Error::Kind::usage, "a blank disk cannot have the format '" + format + "'")
        .hint("leave 'format' out: it is sparse anyway");
  bool is_new = true;
  std::string belongs_to = "a blank disk of " + std::to_string(disk.size_mb) + " MiB";
  base::Fd file = make_file("raw", belongs_to, is_new);
  if (is_new) {
    base::check(::ftruncate(file.get(), off_t(disk.size_mb) << 20), "making a blank disk");
    note("raw", belongs_to);
  }
  list_.push_back({.file = keep(std::move(file)), .format = "raw"});
}

std::vector<int> Disks::fd_sets() const {
  std::vector<int> numbers;
  for (std::size_t i = 0; i < files_.size(); ++i) numbers.push_back(first_number + int(i));
  return numbers;
}

std::map<int, base::Fd> Disks::duplicates() const {
  std::map<int, base::Fd> copies;
  for (std::size_t i = 0; i < files_.size(); ++i)
    copies.emplace(first_number + int(i), base::check(::fcntl(files_[i].get(), F_DUPFD_CLOEXEC, 0),
                                                      "duplicating a disk file"));
  return copies;
}

}  // namespace attest::qemu
