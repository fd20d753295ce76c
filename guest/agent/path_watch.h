// Tells when something about a path may have changed, wherever on the way to it: directories that
// are yet to be made, symlinks, mounts. By inotify, or by the clock where that sees nothing (shared
// and kernel-made file systems) or is used up.
#pragma once
#include "guest/agent/fd.h"
#include "guest/agent/loop.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace attest::agent {

/// Watches one absolute path.
class PathWatch {
 public:
  /// Something happened to an entry of the path's own directory that has the path's name, or
  /// matches it (glob_matches).
  struct Entry {
    std::string name;
    bool came;  ///< it was made or moved there; else it went
  };
  /// Called after arm() when something changed; `entries` says what is known about the path's own
  /// directory. What came and went between two looks is in there, too. May destroy the watch.
  using Changed = std::function<void(const std::vector<Entry>& entries)>;

  PathWatch(Loop& loop, std::string path, Changed changed);
  PathWatch(const PathWatch&) = delete;
  PathWatch& operator=(const PathWatch&) = delete;
  ~PathWatch();

  /// Watches the way to the path as it is now. Call at first, and after each change; look at the
  /// path itself only after that, so that nothing happens in between unseen.
  void arm();
  /// True while there is nothing but looking every 20 ms.
  bool polls() const { return polls_; }

 private:
  struct Watched {
    int id;
    std::string name;  // what matters in that directory
    bool own;          // this is the path's own directory
  };

  void on_event();
  void on_mount();
  void report(const std::vector<Entry>& entries);
  bool add(const std::string& directory, const std::string& name, bool own);

  Loop& loop_;
  std::string path_;
  Changed changed_;
  Fd inotify_, mounts_;
  std::vector<Watched> watched_;
  bool polls_ = false;
  Loop::Timer timer_ = 0;
};

/// True if `name` is what `pattern` says: '*' and '?' as in a shell, so not a leading dot.
bool glob_matches(std::string_view pattern, std::string_view name);

}  // namespace attest::agent
