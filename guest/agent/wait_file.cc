// wait for=file: until a path is there, as `test -e` says it, or is gone. What was there for a
// moment only counts: that it came is what was waited for.
#include "guest/agent/files.h"
#include "guest/agent/path_watch.h"
#include "guest/agent/wait.h"

#include <dirent.h>
#include <sys/stat.h>

namespace attest::agent {
namespace {

class FileWait : public Wait {
 public:
  FileWait(const AgentFields& fields, Output& out, Loop& loop)
      : Wait(out, loop, "file '" + std::string(fields.get("path")) + "'"),
        path_(fields.get("path")),
        directory_(directory_of(without_end_slashes(path_))),
        name_(name_of(without_end_slashes(path_))),
        gone_(fields.get("gone") == "1"),
        glob_(name_.find_first_of("*?") != std::string::npos) {
    if (gone_) what_ += " to go";
  }

  void start() override {
    if (refuse_path(path_, out_)) return;
    if (directory_.find_first_of("*?") != std::string::npos)
      return out_.error("usage", "'" + path_ + "': only the last part may hold * or ?");
    watch_ = std::make_unique<PathWatch>(
        loop_, path_, [this](const std::vector<PathWatch::Entry>& entries) { look(entries); });
    look({});
  }

 private:
  void look(const std::vector<PathWatch::Entry>& entries) {
    watch_->arm();
    auto there = find();
    if (there.empty() == gone_) return out_.done({{"path", gone_ ? path_ : there}});
    for (auto& entry : entries) {
      // Of several that match, one that went proves nothing.
      if (entry.came == gone_ || (gone_ && glob_)) continue;
      auto path = (directory_ == "/" ? "" : directory_) + "/" + entry.name;
      // A symlink that leads nowhere came without anything being there.
      struct stat status;
      if (!gone_ && lstat(path.c_str(), &status) == 0) continue;
      return out_.done({{"path", path}});
    }
    state(gone_ ? "'" + there + "' is there" : "'" + path_ + "' is not there");
  }

  // The path, or one that matches it; "" if there is none.
  std::string find() const {
    struct stat status;
    if (!glob_) return stat(path_.c_str(), &status) == 0 ? path_ : "";
    auto* stream = opendir(directory_.c_str());
    std::string found;
    while (auto* entry = stream && found.empty() ? readdir(stream) : nullptr) {
      if (!glob_matches(name_, entry->d_name)) continue;
      auto path = (directory_ == "/" ? "" : directory_) + "/" + entry->d_name;
      if (stat(path.c_str(), &status) == 0) found = path;
    }
    if (stream) closedir(stream);
    return found;
  }

  std::string path_, directory_, name_;
  bool gone_, glob_;
  std::unique_ptr<PathWatch> watch_;
};

}  // namespace

std::unique_ptr<Operation> make_file_wait(const AgentFields& fields, Output& out,
                                          Services services) {
  return std::make_unique<FileWait>(fields, out, services.loop);
}

}  // namespace attest::agent
