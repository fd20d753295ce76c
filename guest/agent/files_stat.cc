// stat and list.
#include "guest/agent/files.h"

#include <dirent.h>
#include <fcntl.h>

#include <cerrno>

namespace attest::agent {
namespace {

class Stat : public Operation {
 public:
  Stat(const AgentFields& fields, Output& out)
      : Operation(out), path_(fields.get("path")), follow_(fields.get("follow") == "1") {}

  void start() override {
    if (refuse_path(path_, out_)) return;
    struct stat status;
    if (fstatat(AT_FDCWD, path_.c_str(), &status, follow_ ? 0 : AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT || errno == ENOTDIR) return out_.done({{"type", "none"}});
      return out_.error("guest", cannot("look at", path_, errno));
    }
    AgentFields answer;
    add_stat(answer, status);
    add_target(answer, AT_FDCWD, path_.c_str(), status);
    out_.done(answer);
  }
  void on_cancel() override {}

 private:
  std::string path_;
  bool follow_;
};

class List : public Operation {
 public:
  List(const AgentFields& fields, Output& out, Loop& loop)
      : Operation(out), path_(fields.get("path")), turn_(loop) {}
  ~List() override {
    if (directory_) closedir(directory_);
  }

  void start() override {
    if (refuse_path(path_, out_)) return;
    directory_ = opendir(path_.c_str());
    if (!directory_) return out_.error("guest", cannot("list", path_, errno));
    some();
  }
  void on_room() override { some(); }
  void on_cancel() override { out_.error("timeout", "listing '" + path_ + "' was given up"); }

 private:
  void some() {
    for (int count = 0; count < 200; ++count) {
      // Events are no data, but what they add to the connection counts in its room.
      if (out_.room() == 0) return;
      errno = 0;
      auto* found = readdir(directory_);
      if (!found) {
        if (errno != 0) return out_.error("guest", cannot("list", path_, errno));
        return out_.done();
      }
      std::string_view name = found->d_name;
      if (name == "." || name == "..") continue;
      struct stat status;
      int at = dirfd(directory_);
      if (fstatat(at, found->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;  // is gone
      AgentFields entry{{"name", name}};
      add_stat(entry, status);
      add_target(entry, at, found->d_name, status);
      out_.event(entry);
    }
    turn_.again([this] { some(); });
  }

  std::string path_;
  Turn turn_;
  DIR* directory_ = nullptr;
};

}  // namespace

std::unique_ptr<Operation> make_stat(const AgentFields& fields, Output& out, Services) {
  return std::make_unique<Stat>(fields, out);
}

std::unique_ptr<Operation> make_list(const AgentFields& fields, Output& out, Services services) {
  return std::make_unique<List>(fields, out, services.loop);
}

}  // namespace attest::agent
