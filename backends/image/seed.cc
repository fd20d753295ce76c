#include "backends/image/seed.h"

#include "attest/error.h"
#include "lib/base/text.h"

#include <cstdio>
#include <set>

namespace attest::image {
namespace {

constexpr unsigned directory_type = 0040000;
constexpr unsigned file_type = 0100000;
constexpr std::size_t largest_file = 0xffffffff;  // eight hex digits

// The format of cpio's "newc": a header of hex fields, the name, the content, each padded to 4.
class Archive {
 public:
  void add(const std::string& name, unsigned mode, std::string_view content) {
    char header[111];
    // magic ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize
    // check
    std::snprintf(header, sizeof header,
                  "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x", ++inode_, mode, 0,
                  0, 1, 0, content.size(), 0, 0, 0, 0, name.size() + 1, 0);
    bytes_ += header;
    bytes_ += name;
    bytes_ += '\0';
    pad();
    bytes_ += content;
    pad();
  }
  std::string finish() {
    add("TRAILER!!!", 0, "");
    return std::move(bytes_);
  }

 private:
  void pad() { bytes_.resize((bytes_.size() + 3) / 4 * 4, '\0'); }

  std::string bytes_;
  unsigned inode_ = 0;
};

// The guest copies the tree over its root with all modes, so directories that it has already must
// keep theirs.
unsigned directory_mode(std::string_view path) {
  if (path == "attest/seed/tmp" || path == "attest/seed/var/tmp") return 01777;
  return path == "attest/seed/root" ? 0700 : 0755;
}

void check(const SeedFile& file) {
  auto parts = base::split(file.path, '/');
  bool good = file.path.size() > 1 && file.path[0] == '/' && file.path.back() != '/' &&
              file.path.find('\0') == std::string::npos;
  for (auto& part : parts) good = good && part != ".." && part != ".";
  if (!good)
    throw Error(Error::Kind::usage,
                "the seed file '" + file.path + "' does not have an absolute path")
        .hint("give the path in the machine, without '..', such as /etc/motd");
  if (file.content.size() > largest_file)
    throw Error(Error::Kind::usage, "the seed file '" + file.path + "' is larger than 4 GiB")
        .hint("put it on a disk of its own ('disks')");
}

}  // namespace

std::string seed_archive(const std::vector<SeedFile>& files) {
  Archive archive;
  std::set<std::string> directories;
  for (auto& file : files) {
    check(file);
    std::string path = "attest";
    auto enter = [&] {
      if (directories.insert(path).second)
        archive.add(path, directory_type | directory_mode(path), "");
    };
    enter();
    path += "/seed";
    enter();
    std::vector<std::string> parts;
    for (auto& part : base::split(file.path, '/'))
      if (!part.empty()) parts.push_back(part);
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      path += "/" + parts[i];
      enter();
    }
    archive.add(path + "/" + parts.back(), file_type | (file.mode & 07777), file.content);
  }
  return archive.finish();
}

SeedFile agent_seed(std::string_view program) {
  return {.path = "/usr/lib/attest/attest-agent", .content = std::string(program), .mode = 0755};
}

std::string append_seed(std::string initrd, const std::vector<SeedFile>& files) {
  // The kernel skips zeros between archives, and wants an uncompressed one to start at 4 bytes.
  initrd.resize((initrd.size() + 3) / 4 * 4, '\0');
  return initrd + seed_archive(files);
}

}  // namespace attest::image
