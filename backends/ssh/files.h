// Files of the host: over SFTP, or through a shell where the host has no SFTP.
#pragma once
#include "backends/ssh/session.h"

#include <libssh2_sftp.h>

#include <memory>
#include <string>

namespace attest::ssh {

/// See FileTransfer. Loop thread only. Lives in a shared_ptr, and does not outlive its session's
/// use. A call that is cancelled ends by itself, in the background: libssh2 cannot leave an
/// operation half-way.
class Files : public std::enable_shared_from_this<Files> {
 public:
  explicit Files(std::shared_ptr<Session> session)
      : session_(std::move(session)), alone_(session_->loop()) {}

  Task<void> put(std::string path, std::string bytes, unsigned mode, Deadline deadline);
  Task<std::string> get(std::string path, Deadline deadline);

  /// It has turned out that the host has no SFTP.
  bool over_shell() const noexcept { return state_ == State::refused; }

 private:
  enum class State { unknown, open, refused };

  static Task<void> put_now(std::shared_ptr<Files> self, std::string path, std::string bytes,
                            unsigned mode);
  static Task<std::string> get_now(std::shared_ptr<Files> self, std::string path);
  Task<void> begin();
  Task<void> put_by_sftp(std::string path, std::string bytes, unsigned mode);
  Task<std::string> get_by_sftp(std::string path);
  Task<LIBSSH2_SFTP_HANDLE*> open(std::string path, unsigned long flags, long mode);
  Task<void> close(LIBSSH2_SFTP_HANDLE* handle);
  Task<void> make_parents(std::string path);
  Task<bool> exists(std::string path);
  Error failure(const std::string& attempt);

  std::shared_ptr<Session> session_;
  async::Mutex alone_;  ///< SFTP's requests are answered one at a time here
  State state_ = State::unknown;
  LIBSSH2_SFTP* raw_ = nullptr;  ///< the session frees it
};

}  // namespace attest::ssh
