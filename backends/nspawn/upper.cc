#include "backends/nspawn/upper.h"

#include "attest/error.h"
#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <sys/stat.h>
#include <unistd.h>

#include <deque>

namespace attest::nspawn {
namespace {

namespace fs = std::filesystem;

constexpr int most_links = 40;

Error wrong(const std::string& path, const std::string& what) {
  return Error(Error::Kind::usage, "the seed file '" + path + "' " + what)
      .hint("give the path in the machine, without '..', such as /etc/motd");
}

void make_directory(const fs::path& in_tree, const fs::path& made) {
  if (::mkdir(made.c_str(), 0755) != 0) {
    if (errno == EEXIST) return;
    throw base::sys_error("making the directory '" + made.string() + "'");
  }
  struct stat info{};
  bool known = ::lstat(in_tree.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  // Owners first: chown takes the set-id bits off. Ids that this user namespace has not stay away.
  if (known && (info.st_uid != 0 || info.st_gid != 0))
    (void)!::chown(made.c_str(), info.st_uid, info.st_gid);
  base::check(::chmod(made.c_str(), known ? info.st_mode & 07777 : 0755),
              "setting the mode of '" + made.string() + "'");
}

}  // namespace

fs::path place_in(const fs::path& tree, const std::string& path) {
  if (path.size() < 2 || path[0] != '/' || path.back() == '/')
    throw wrong(path, "does not have an absolute path");
  std::deque<std::string> left;
  for (auto& part : base::split(path, '/')) {
    if (part == "..") throw wrong(path, "has a '..' in its path");
    if (!part.empty() && part != ".") left.push_back(part);
  }
  fs::path place;
  int links = 0;
  while (left.size() > 1) {
    std::string part = left.front();
    left.pop_front();
    if (part == "..") {
      place = place.parent_path();
      continue;
    }
    std::error_code failure;
    fs::path target = fs::read_symlink(tree / place / part, failure);
    if (failure) {
      place /= part;
      continue;
    }
    if (++links > most_links) throw wrong(path, "leads through links without end");
    if (target.is_absolute()) place.clear();
    auto parts = base::split(target.string(), '/');
    for (auto step = parts.rbegin(); step != parts.rend(); ++step)
      if (!step->empty() && *step != ".") left.push_front(*step);
  }
  return place / left.front();
}

void write_seed(const fs::path& tree, const fs::path& upper, const std::vector<SeedFile>& files) {
  for (auto& file : files) {
    fs::path place = place_in(tree, file.path), directory;
    for (auto& part : place.parent_path()) {
      directory /= part;
      make_directory(tree / directory, upper / directory);
    }
    fs::path made = upper / place;
    base::write_file(made, file.content);
    base::check(::chmod(made.c_str(), file.mode & 07777),
                "setting the mode of '" + made.string() + "'");
  }
}

}  // namespace attest::nspawn
