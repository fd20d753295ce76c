// What the operations on files share: how an error reads, what stat says, new names for files that
// are not finished, and turns for long work.
#pragma once
#include "guest/agent/loop.h"
#include "guest/agent/operation.h"

#include <sys/stat.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace attest::agent {

/// "cannot VERB 'PATH': TEXT OF CODE".
std::string cannot(std::string_view verb, std::string_view path, int code);
/// The text of an errno.
std::string_view error_text(int code);

/// Adds type, mode, size, uid, gid, mtime_ns.
void add_stat(AgentFields& fields, const struct stat& status);
/// Adds `target` if `name` in the directory `at` is a symlink.
void add_target(AgentFields& fields, int at, const char* name, const struct stat& status);
std::int64_t mtime_ns(const struct stat& status);

/// Everything before the last slash: "/" for "/x", "." for "x".
std::string directory_of(std::string_view path);
/// What follows the last slash.
std::string name_of(std::string_view path);
/// Without slashes at the end, unless it is "/".
std::string without_end_slashes(std::string_view path);
/// mkdir -p; 0 or an errno.
int make_directories(const std::string& path);
/// A name for a file in the making, beside the one that it will be; another one each time.
std::string unfinished_name();

/// Writes all of it, waiting for nothing: the number of bytes written, fewer with errno set.
std::size_t write_all(int fd, std::string_view bytes);

/// True, after an answer, if the path is none that an operation can use.
bool refuse_path(std::string_view path, Output& out);

/// Calls again when others had their turn; taken back when it is destroyed.
class Turn {
 public:
  explicit Turn(Loop& loop) : loop_(loop) {}
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() { loop_.cancel(timer_); }
  /// Once, also if it is asked for several times.
  void again(Loop::Callback callback);

 private:
  Loop& loop_;
  Loop::Timer timer_ = 0;
};

}  // namespace attest::agent
