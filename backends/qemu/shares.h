// Directories of the host that one running guest sees: for each a virtiofsd, and a device that is
// plugged into the machine while it runs.
#pragma once
#include "attest/backend.h"
#include "backends/qemu/running.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace attest::qemu {

/// All calls happen on the loop thread. Destroying it ends the daemons.
class Shares : public std::enable_shared_from_this<Shares> {
 public:
  /// `directory` is QEMU's working directory; `slots` as in Launch, 0 with the reason in `why_not`.
  Shares(asio::any_io_executor loop, std::shared_ptr<Running> running,
         std::filesystem::path directory, int slots, std::string why_not);
  ~Shares();

  /// As FileSharing::share(). The same directory asked for again is the same mount.
  Task<FileSharing::Mount> share(std::filesystem::path host, bool writable, Deadline deadline);

 private:
  struct Daemon;
  Task<std::shared_ptr<Daemon>> start(std::filesystem::path host, bool writable, int slot,
                                      Deadline deadline);
  Task<void> plug(std::shared_ptr<Daemon> daemon, int slot, Deadline deadline);

  asio::any_io_executor loop_;
  std::shared_ptr<Running> running_;
  std::filesystem::path directory_;
  int slots_;
  std::string why_not_;
  async::Mutex plugging_;
  std::string program_;
  bool is_c_ = false;
  std::vector<std::shared_ptr<Daemon>> daemons_;  // by slot
};

}  // namespace attest::qemu
