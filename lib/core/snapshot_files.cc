#include "lib/core/snapshot_files.h"

#include "attest/error.h"
#include "lib/base/checksum.h"
#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

namespace attest::core {
namespace {

namespace fs = std::filesystem;

// The host's CPU as its users know it.
std::string host_cpu() {
  auto text = base::try_read_file("/proc/cpuinfo").value_or("");
  for (auto& line : base::split(text, '\n'))
    if (line.starts_with("model name"))
      return std::string(base::trim(std::string_view(line).substr(line.find(':') + 1)));
  return "unknown";
}

Error unfit(const fs::path& dir, const std::string& what) {
  return Error(Error::Kind::usage,
               "the snapshot '" + dir.string() + "' cannot be restored: " + what);
}

// The directory in which a snapshot is made is locked by the process that makes it.
std::string partial_head(const fs::path& wanted) { return "." + wanted.filename().string() + "."; }
constexpr const char* partial_tail = ".partial";

// Removes what processes have left that were killed while they made the same snapshot: nobody holds
// its lock. What cannot be removed is in nobody's way: ignoring.
void sweep(const fs::path& wanted) {
  std::error_code ignored;
  fs::directory_iterator at(wanted.parent_path(), ignored);
  for (; !ignored && at != fs::directory_iterator(); at.increment(ignored)) {
    auto& entry = *at;
    auto name = entry.path().filename().string();
    if (!name.starts_with(partial_head(wanted)) || !name.ends_with(partial_tail)) continue;
    base::Fd lock(::open(entry.path().c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    std::error_code failure;
    if (lock && ::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) fs::remove_all(entry.path(), failure);
  }
}

}  // namespace

fs::path snapshot_path(const MachineConfig& config) {
  if (config.backend == "firecracker") return config.firecracker.snapshot_path;
  if (config.backend == "cloud_hypervisor") return config.cloud_hypervisor.snapshot_path;
  return {};
}

SnapshotDir::SnapshotDir(fs::path wanted) : wanted_(fs::absolute(wanted).lexically_normal()) {
  if (!wanted_.has_filename()) wanted_ = wanted_.parent_path();
  std::error_code failure;
  if (fs::exists(wanted_, failure)) {
    if (!fs::is_directory(wanted_, failure) || !fs::is_empty(wanted_, failure))
      throw Error(Error::Kind::usage,
                  "a snapshot cannot be made as '" + wanted_.string() + "': it is there already")
          .hint("name a directory that is not there, or remove that one");
  }
}

void SnapshotDir::make() {
  sweep(wanted_);
  struct stat status{};
  // Somebody else's sweep may come between the first two steps.
  do {
    std::error_code failure;
    made_ = wanted_.parent_path() / (partial_head(wanted_) + base::random_hex(4) + partial_tail);
    if (!fs::create_directories(made_, failure) || failure)
      throw Error(Error::Kind::host,
                  "making the directory '" + made_.string() + "': " + failure.message())
          .during("making the snapshot '" + wanted_.string() + "'");
    auto attempt = "locking '" + made_.string() + "'";
    lock_ =
        base::Fd(base::check(::open(made_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), attempt));
    base::check(::flock(lock_.get(), LOCK_EX), attempt);
    base::check(::fstat(lock_.get(), &status), attempt);
  } while (status.st_nlink == 0);
}

SnapshotDir::~SnapshotDir() {
  std::error_code ignored;
  if (!made_.empty()) fs::remove_all(made_, ignored);
}

void SnapshotDir::publish() {
  std::error_code failure;
  fs::rename(made_, wanted_, failure);
  if (failure)
    throw Error(Error::Kind::host, "renaming '" + made_.string() + "' to '" + wanted_.string() +
                                       "': " + failure.message());
  made_.clear();
}

void add_facts(Manifest& manifest, const SnapshotFacts& facts) {
  manifest.monitor = facts.monitor;
  manifest.format = facts.format;
  manifest.cpu = facts.cpu.empty() ? host_cpu() : facts.cpu;
  if (!facts.binary.empty()) manifest.programs["monitor"] = base::identify(facts.binary);
  if (!facts.kernel.empty()) manifest.programs["kernel"] = base::identify(facts.kernel);
  for (auto& disk : facts.disks) manifest.disks[disk.string()] = base::identify(disk);
}

Identities files_in(const fs::path& dir) {
  Identities all;
  for (auto& entry : fs::directory_iterator(dir))
    if (auto name = entry.path().filename().string(); name != manifest_name)
      all[name] = base::identify(entry.path());
  return all;
}

Manifest read_manifest(const fs::path& dir) {
  auto text = base::try_read_file(dir / manifest_name);
  if (text) return parse_manifest(*text, dir.string());
  std::error_code ignored;
  throw unfit(dir, fs::is_directory(dir, ignored) ? "it has no " + std::string(manifest_name)
                                                  : "there is no such directory")
      .hint("snapshot_create() and attest-snapshot make such directories");
}

void check_files(const Manifest& manifest, const fs::path& dir) {
  std::vector<std::string> wrong;
  for (auto& [name, saved] : manifest.files) {
    // A name out of a file that anybody may have written leads nowhere else.
    if (fs::path(name).filename() != name || name == "." || name == "..") {
      wrong.push_back("'" + base::printable(name) + "' is not the name of a file in it");
      continue;
    }
    std::error_code failure;
    auto size = fs::file_size(dir / name, failure);
    if (failure)
      wrong.push_back("'" + name + "' is missing (" + failure.message() + ")");
    else if (size != saved.size)
      wrong.push_back("'" + name + "' has " + std::to_string(size) + " bytes, it was saved with " +
                      std::to_string(saved.size));
    else if (base::identify(dir / name) != saved)
      wrong.push_back("'" + name + "' has changed since it was saved");
  }
  if (!wrong.empty()) throw unfit(dir, base::join(wrong, "; ")).hint("make the snapshot again");
}

}  // namespace attest::core
