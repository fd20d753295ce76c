// A capture of one VLAN in a file: a pcapng interface for each member, a comment on each frame that
// says who sent it to whom and what took it away. It belongs to the thread that calls see().
#pragma once
#include "attest/error.h"
#include "lib/base/fd.h"
#include "lib/net/plan.h"
#include "lib/net/seen.h"

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace attest::net {

/// Owns the file. Readers find whole blocks in it after the constructor, and after each flush().
class CaptureFile {
 public:
  /// Makes `path` with the directories above it; a regular file that is there is replaced, and who
  /// has it open keeps the old one. `plan` is asked for the names of members, whenever one is seen
  /// first; it must live for as long as see() is called, and may grow. Throws Error{host}.
  CaptureFile(std::filesystem::path path, const Plan& plan, int vlan);
  CaptureFile(const CaptureFile&) = delete;
  CaptureFile& operator=(const CaptureFile&) = delete;
  /// Flushes; a failure is not told.
  ~CaptureFile();

  /// For a Watcher: adds one frame. Writes when 64 KiB have come together, as long as that takes.
  /// Never fails: what the disk does not take ends the file after its last whole block, finish()
  /// tells, and later frames are nothing.
  void see(const Seen& seen);
  /// Writes what has come together. Fails as see() does.
  void flush() noexcept;
  /// Flushes and ends the file; later frames are nothing. Throws Error{host} if not all frames are
  /// in it, each time that it is called.
  void finish();

  const std::filesystem::path& path() const noexcept { return path_; }
  /// Packets in the file, with those that the next flush writes. A frame that came in and was then
  /// kept from a member counts once more for each such member. From any thread.
  std::uint64_t frames() const noexcept { return frames_; }

 private:
  /// What the file calls a member, and its interface there, once it has one.
  struct Station {
    std::string name, description;
    std::optional<std::uint32_t> interface;
  };
  Station& station(Member member);
  std::uint32_t interface_of(Member member);
  void give_up(int code, std::size_t written) noexcept;

  std::filesystem::path path_;
  const Plan& plan_;
  int vlan_;
  base::Fd file_;
  std::string buffer_, comment_;
  std::map<Member, Station> stations_;
  std::uint32_t interfaces_ = 0;
  std::uint64_t flushed_bytes_ = 0, flushed_frames_ = 0;
  std::atomic<std::uint64_t> frames_ = 0;
  std::optional<Error> failure_;
};

}  // namespace attest::net
