// Captures: those that a test begins, and those of whole runs that the config asks for.
#pragma once
#include "lib/core/networks.h"

#include <boost/asio/steady_timer.hpp>

#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace attest {
namespace net {
class CaptureFile;
}

namespace core {

/// A file that is being captured to, in the whole process. Throws Error{usage} if it is already.
class Claim {
 public:
  explicit Claim(const std::filesystem::path& path);
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  ~Claim();
  static bool is_taken(const std::filesystem::path& path);

 private:
  std::string path_;
};

/// One capture, shared by its handle, the fleet and its timer. Loop thread only, except where it is
/// said.
struct Capturing {
  Capturing(std::filesystem::path path, const net::Plan& plan, int vlan);
  ~Capturing();

  const std::filesystem::path path;  ///< any thread
  const int vlan;
  std::atomic<std::uint64_t> frames = 0;      ///< any thread
  std::atomic<bool> running = false;          ///< any thread
  int watcher = 0;                            ///< the fabric's number for it
  std::unique_ptr<net::CaptureFile> file;     ///< null once it has ended
  std::unique_ptr<asio::steady_timer> timer;  ///< the same
  bool whole_run = false;
  std::optional<Error> failure;
  std::optional<Claim> claim;  ///< while it runs
};

/// Vlan::capture().
Capture capture(Fleet& fleet, int vlan, const std::filesystem::path& path,
                std::source_location here);

/// Begins what network.capture asks for, on VLANs that have no such capture yet. Throws
/// Error{host}.
void capture_all(Fleet& fleet);
/// At the driver's end, on the loop: ends all captures, and keeps those of the whole run or not.
void end_captures(Fleet& fleet);

}  // namespace core

struct Capture::Impl {
  void stop(Here here);

  std::shared_ptr<core::Calls> calls;
  core::Fleet& fleet;  ///< exists for as long as `calls` lets us in
  std::shared_ptr<core::Capturing> capturing;
};

}  // namespace attest
