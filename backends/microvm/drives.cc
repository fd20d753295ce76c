#include "backends/microvm/drives.h"

#include "attest/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace attest::microvm {
namespace {

namespace fs = std::filesystem;

base::Fd open_disk(const fs::path& path) {
  base::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file)
    throw Error(Error::Kind::usage,
                base::sys_error("opening the disk '" + path.string() + "'").what())
        .hint("correct its path in the config");
  return file;
}

// Which file exactly: a kept copy is worth nothing for another one.
std::string identity(const fs::path& file) {
  struct stat status{};
  base::check(::stat(file.c_str(), &status), "looking at the disk '" + file.string() + "'");
  return "'" + file.string() + "' of " + std::to_string(status.st_size) + " bytes, changed at " +
         std::to_string(status.st_mtim.tv_sec) + "." + std::to_string(status.st_mtim.tv_nsec);
}

// The data between two holes.
void copy_range(int from, int to, off_t begin, off_t end, const std::string& step) {
  while (begin < end) {
    off_t out = begin;
    ssize_t count = ::copy_file_range(from, &begin, to, &out, std::size_t(end - begin), 0);
    if (count > 0) continue;
    if (count == 0) return;  // it has been cut meanwhile
    if (errno == EINTR) continue;
    if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
      throw base::sys_error(step);
    // File systems that cannot do it between them.
    std::string buffer(1 << 20, '\0');
    while (begin < end) {
      ssize_t got = ::pread(from, buffer.data(),
                            std::min<std::size_t>(buffer.size(), std::size_t(end - begin)), begin);
      if (got <= 0) throw base::sys_error(step);
      for (ssize_t done = 0; done < got;) {
        ssize_t put = ::pwrite(to, buffer.data() + done, std::size_t(got - done), begin + done);
        if (put <= 0) throw base::sys_error(step);
        done += put;
      }
      begin += got;
    }
  }
}

bool is_qcow2(const base::Fd& file) {
  char magic[4] = {};
  return ::pread(file.get(), magic, sizeof magic, 0) == 4 &&
         std::string_view(magic, 4) == std::string_view("QFI\xfb", 4);
}

}  // namespace

void clone_file(const fs::path& from, const fs::path& to) {
  std::string step = "copying '" + from.string() + "' to '" + to.string() + "'";
  base::Fd source(base::check(::open(from.c_str(), O_RDONLY | O_CLOEXEC), step));
  ::unlink(to.c_str());  // a symbolic link is replaced, not followed
  base::Fd target(
      base::check(::open(to.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), step));
  if (::ioctl(target.get(), FICLONE, source.get()) == 0) return;
  struct stat status{};
  base::check(::fstat(source.get(), &status), step);
  base::check(::ftruncate(target.get(), status.st_size), step);
  for (off_t at = 0; at < status.st_size;) {
    off_t data = ::lseek(source.get(), at, SEEK_DATA);
    if (data == -1 && errno == ENXIO) return;  // only a hole is left
    if (data == -1) data = at;
    off_t hole = ::lseek(source.get(), data, SEEK_HOLE);
    if (hole == -1) hole = status.st_size;
    copy_range(source.get(), target.get(), data, hole, step);
    at = hole;
  }
}

Drives::Drives(std::string monitor, fs::path directory, bool keep)
    : monitor_(std::move(monitor)), directory_(std::move(directory)), keep_(keep) {}

Drives::~Drives() {
  if (keep_) return;
  std::error_code ignored;
  for (auto& drive : list_)
    if (!drive.read_only) fs::remove(drive.file, ignored);
}

bool Drives::any_writable() const {
  for (auto& drive : list_)
    if (!drive.read_only) return true;
  return false;
}

void Drives::add_writable(std::string id, Origin origin, bool root) {
  fs::path path = directory_ / (id + ".raw");
  if (keep_) {
    auto known = base::try_read_file(path.string() + ".base");
    if (known && *known != origin.belongs_to)
      throw Error(Error::Kind::usage, "the kept disk '" + path.string() + "' belongs to " +
                                          std::string(base::trim(*known)) + ", not to " +
                                          origin.belongs_to)
          .hint("remove the directory '" + directory_.string() + "' to start anew");
  }
  list_.push_back({.id = std::move(id), .file = path, .root = root});
  origins_.push_back(std::move(origin));
  made_ = false;
}

void Drives::make_one(const Drive& drive, const Origin& origin) const {
  // The note is written when the file is complete: one without it is made again.
  fs::path note = drive.file.string() + ".base";
  if (keep_ && base::try_read_file(note)) return;
  if (!origin.file.empty()) {
    clone_file(origin.file, drive.file);
  } else {
    base::Fd file(
        base::check(::open(drive.file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
                    "making the blank disk '" + drive.file.string() + "'"));
    base::check(::ftruncate(file.get(), off_t(origin.size_mb) << 20), "making a blank disk");
  }
  if (keep_) base::write_file(note, origin.belongs_to);
}

void Drives::make() {
  if (made_) return;
  for (std::size_t i = 0; i < list_.size(); ++i)
    if (!list_[i].read_only) make_one(list_[i], origins_[i]);
  made_ = true;
}

void Drives::add_shared(std::string id, const fs::path& file, bool root) {
  list_.push_back({.id = std::move(id), .file = file, .read_only = true, .root = root});
  origins_.emplace_back();
}

void Drives::add_root(const fs::path& file, const std::string& format) {
  auto opened = open_disk(file);
  if (format == "qcow2" || is_qcow2(opened))
    throw Error(
        Error::Kind::unsupported,
        monitor_ + " takes raw disks only, and the image's root '" + file.string() + "' is qcow2")
        .hint("convert it: qemu-img convert -O raw " + base::shell_quote(file.string()) +
              " root.raw");
  if (format == "erofs" || format == "squashfs")
    add_shared("root", fs::absolute(file), true);
  else
    add_writable("root", {.file = fs::absolute(file), .belongs_to = identity(file)}, true);
}

void Drives::add_store(const fs::path& file) {
  open_disk(file);
  add_shared("store", fs::absolute(file), false);
}

void Drives::add(const DiskConfig& disk) {
  std::string id = "disk" + std::to_string(list_.size());
  bool named_qcow2 =
      disk.format == "qcow2" || (disk.format.empty() && disk.path.ends_with(".qcow2"));
  if (!disk.format.empty() && disk.format != "raw" && disk.format != "qcow2")
    throw Error(Error::Kind::usage,
                "the disk '" + disk.path + "' has the unknown format '" + disk.format + "'")
        .hint("use raw");
  if (!disk.path.empty()) {
    fs::path path = fs::absolute(disk.path);
    auto opened = open_disk(path);
    if (named_qcow2 || (disk.format.empty() && is_qcow2(opened)))
      throw Error(Error::Kind::unsupported,
                  monitor_ + " takes raw disks only, and '" + disk.path + "' is qcow2")
          .hint("convert it: qemu-img convert -O raw " + base::shell_quote(disk.path) +
                " disk.raw");
    if (disk.read_only)
      add_shared(std::move(id), path, false);
    else
      add_writable(std::move(id), {.file = path, .belongs_to = identity(path)}, false);
    return;
  }
  if (disk.size_mb < 1)
    throw Error(Error::Kind::usage, "a disk has neither 'path' nor 'size_mb'")
        .hint("give the path of an image, or the size of a blank disk in MiB");
  if (named_qcow2)
    throw Error(Error::Kind::usage, "a blank disk cannot have the format 'qcow2'")
        .hint("leave 'format' out: it is sparse anyway");
  std::string belongs_to = "a blank disk of " + std::to_string(disk.size_mb) + " MiB";
  add_writable(std::move(id), {.size_mb = disk.size_mb, .belongs_to = belongs_to}, false);
}

void Drives::save_to(const fs::path& dir) const {
  for (auto& drive : list_)
    if (!drive.read_only) clone_file(drive.file, dir / (drive.id + ".raw"));
}

void Drives::load_from(const fs::path& dir) {
  for (std::size_t i = 0; i < list_.size(); ++i) {
    auto& drive = list_[i];
    if (drive.read_only) continue;
    fs::path saved = dir / (drive.id + ".raw");
    std::error_code ignored;
    if (!fs::is_regular_file(saved, ignored))
      throw Error(Error::Kind::usage, "the snapshot '" + dir.string() + "' has no disk '" +
                                          drive.id + "', which this machine's config gives it")
          .hint("restore it with the config of the machine that was saved");
    clone_file(saved, drive.file);
    if (keep_) base::write_file(drive.file.string() + ".base", origins_[i].belongs_to);
  }
  made_ = true;
}

}  // namespace attest::microvm
